"""Folders of tiny pipelines of sounds, written once a session, and the modality over them."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from modalign.modalities.audio.modality import Audio


@pytest.fixture(scope="session")
def audio_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """From `module.name`, such as `waveform.tangoflux`, to the folder that it writes; only to be read."""
    root = tmp_path_factory.mktemp("audio_pipelines")

    def folder(name: str) -> Path:
        module, function = name.split(".")
        made = root / name
        if not made.exists():
            getattr(import_module(f"tests.tiny_audio.{module}"), function)(made)
        return made

    return folder


@pytest.fixture
def audio(audio_folder: Callable[[str], Path]) -> Callable[..., Audio]:
    """Makes an audio modality over a tiny pipeline; nothing cached."""

    def make(name: str = "waveform.tangoflux", **options: object) -> Audio:
        return Audio(str(audio_folder(name)), **{"cache": "off", **options})

    return make
