"""Tiny vision-language models, each written once a session when it is first asked for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tiny_vlms import FAMILIES, build


@pytest.fixture(scope="session")
def vlm_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """From a name in `tests.tiny_vlms.FAMILIES` to its folder; only to be read."""
    root = tmp_path_factory.mktemp("vlms")

    def folder(family: str) -> Path:
        return root / family if (root / family).exists() else build(family, root / family)

    return folder


@pytest.fixture(scope="session", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each family in turn."""
    name: str = request.param
    return name
