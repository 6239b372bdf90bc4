"""A tiny CLIP and a tiny LLaVA, written once, and scenes to describe."""

from pathlib import Path

import pytest

from tests.modalities.image.rewards.test_clip_score import open_clip_folder, transformers_folder  # noqa: F401
from tests.modalities.vision_language.build.scenes import write_scenes
from tests.tiny_vlms import build


@pytest.fixture
def clip_folder(transformers_folder: Path) -> Path:  # noqa: F811
    """A CLIP model of transformers with random weights."""
    return transformers_folder


@pytest.fixture(scope="session")
def llava_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaVA with random weights."""
    return build("llava", tmp_path_factory.mktemp("llava") / "model")


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """A file of 24 described scenes."""
    return write_scenes(tmp_path / "data", 24)
