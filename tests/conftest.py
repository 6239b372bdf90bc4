"""Settings of every test: no network, and caches that go with the session."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.recipes import rows_for

# How fast a shared machine is says nothing of the code.
settings.register_profile("modalign", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("modalign")

_caches = tempfile.TemporaryDirectory(prefix="modalign-tests-")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_CACHE"] = os.path.join(_caches.name, "datasets")
os.environ["MODALIGN_CACHE"] = os.path.join(_caches.name, "modalign")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model of a few thousand weights, with a tokenizer of 300 tokens."""
    from modalign.modalities.text.scratch import write_scratch_model

    texts = [json.dumps(row) for row in rows_for("text/dpo")]
    folder = tmp_path_factory.mktemp("recipes") / "model"
    return write_scratch_model(texts, folder, vocab_size=300, hidden_size=16, layers=1, heads=2, max_positions=128)


@pytest.fixture(scope="session")
def pipeline_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """From a name in `tests.tiny_pipelines.PIPELINES` to its folder, written once a session; only to be read."""
    from tests.tiny_pipelines import PIPELINES

    root = tmp_path_factory.mktemp("pipelines")

    def folder(name: str) -> Path:
        return root / name if (root / name).exists() else PIPELINES[name](root / name)

    return folder


@pytest.fixture(scope="session")
def vlm_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """From a name in `tests.tiny_vlms.FAMILIES` to its folder, written once a session; only to be read."""
    from tests.tiny_vlms import build

    root = tmp_path_factory.mktemp("vlms")

    def folder(family: str) -> Path:
        return root / family if (root / family).exists() else build(family, root / family)

    return folder
