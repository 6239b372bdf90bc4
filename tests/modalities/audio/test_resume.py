"""A run of sounds killed at any moment and resumed ends in the numbers of one never killed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.modalities.audio.training import write_pairs
from tests.resuming import ROWS, assert_resumes

# Crops and left-out prompts are drawn, and differ from row to row.
OPTIONS = [
    *["--model.modality.cache", "off", "--model.modality.crop", "random", "--model.modality.caption_dropout", "0.3"],
    *["--model.modality.lora.r", "4", "--model.objective", "dpo", "--model.objective.beta", "500"],
    *["--model.optimizer", "AdamW", "--model.optimizer.lr", "0.001", "--data.format", "audio_pairs"],
]


CACHED = [
    *["--model.modality.cache", "disk", "--model.modality.caption_dropout", "0.3", "--model.modality.draw_cycle", "1"],
    *["--model.reference", "cached", "--model.objective", "dpo", "--model.objective.beta", "500"],
    *["--model.optimizer", "AdamW", "--model.optimizer.lr", "0.001", "--data.format", "audio_pairs"],
]


@pytest.mark.slow
@pytest.mark.parametrize("options", [OPTIONS, CACHED], ids=["an adapter, live", "all weights, from caches"])
def test_killed_at_a_random_batch(tmp_path: Path, audio_folder: Callable[[str], Path], options: list[str]) -> None:
    model = ["--model.modality", "audio", "--model.modality.model", str(audio_folder("waveform.tangoflux"))]
    assert_resumes(tmp_path, write_pairs(tmp_path, ROWS), [*model, *options], seed=2)
