"""Settings of every test: no network, and caches that go with the session."""

import os
import tempfile

_caches = tempfile.TemporaryDirectory(prefix="modalign-tests-")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_CACHE"] = os.path.join(_caches.name, "datasets")
os.environ["MODALIGN_CACHE"] = os.path.join(_caches.name, "modalign")
