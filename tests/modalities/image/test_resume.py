"""A run of images killed at any moment and resumed ends in the numbers of one never killed, however it reads data."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.modalities.image.tiny import write_pairs
from tests.resuming import ROWS, assert_resumes

LORA = ["--model.modality.lora.r", "4"]
# Flips and left-out prompts are drawn, and differ from row to row.
OPTIONS = [
    *["--model.modality.resolution", "16", "--model.modality.flip", "true", "--model.modality.caption_dropout", "0.3"],
    *["--model.objective", "dpo", "--model.objective.beta", "500", "--model.reference", "cached"],
    *["--model.optimizer", "AdamW", "--model.optimizer.lr", "0.001", "--data.format", "image_pairs"],
]


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "lora"), [(0, []), (1, LORA)], ids=["full", "lora"])
def test_killed_at_a_random_batch(
    tmp_path: Path, pipeline_folder: Callable[[str], Path], seed: int, lora: list[str]
) -> None:
    model = ["--model.modality", "image", "--model.modality.model", str(pipeline_folder("stable_diffusion"))]
    assert_resumes(tmp_path, write_pairs(tmp_path, ROWS), [*model, *OPTIONS, *lora], seed)
