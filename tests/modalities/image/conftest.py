"""Folders of tiny pipelines, written once a session."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modalign.modalities.image.modality import Image
from tests import tiny_pipelines


@pytest.fixture(scope="session")
def stable_diffusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipelines.stable_diffusion(tmp_path_factory.mktemp("pipelines") / "sd")


@pytest.fixture(scope="session")
def stable_diffusion_v(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipelines.stable_diffusion(tmp_path_factory.mktemp("pipelines") / "sd_v", "v_prediction")


@pytest.fixture
def image(pipeline_folder: Callable[[str], Path]) -> Callable[..., Image]:
    """Makes an image modality over a tiny pipeline, by its name; 16 x 16 pixels, nothing cached."""

    def make(name: str = "stable_diffusion", **options: Any) -> Image:
        return Image(str(pipeline_folder(name)), **{"resolution": 16, "cache": "off", **options})

    return make


@pytest.fixture(scope="session")
def stable_diffusion_3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipelines.stable_diffusion_3(tmp_path_factory.mktemp("pipelines") / "sd3")
