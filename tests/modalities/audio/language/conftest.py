"""Tiny models that hear and write, each written once a session, and the modality over them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from modalign.modalities.audio.language.modality import AudioLanguage
from tests.tiny_audio.language import FAMILIES, build


@pytest.fixture(scope="session")
def alm_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """From a name in `FAMILIES` to its folder; only to be read."""
    root = tmp_path_factory.mktemp("audio_language")
    return cache(lambda family: build(family, root / family))


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each family in turn."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def modality_of(alm_folder: Callable[[str], Path]) -> Callable[..., AudioLanguage]:
    """Makes a modality over a family; prompts of any length that the tiny models take."""

    def make(family: str = "qwen2_audio", **options: Any) -> AudioLanguage:
        return AudioLanguage(str(alm_folder(family)), **{"max_length": 512, **options})

    return make


@pytest.fixture(scope="session")
def loaded(alm_folder: Callable[[str], Path]) -> Callable[[str], Any]:
    """From a family to its model as the modality loads it; no test changes its weights."""
    return cache(lambda family: AudioLanguage(str(alm_folder(family)), max_length=512).load())
