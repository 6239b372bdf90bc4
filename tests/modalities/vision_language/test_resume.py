"""A vision-language run killed at any moment and resumed ends in the numbers of one never killed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.recipes import write_pictured
from tests.resuming import ROWS, assert_resumes

OPTIONS = [
    *["--model.modality.other_image", "cropped", "--model.modality.max_length", "256"],
    *["--model.reference", "cached", "--model.objective", "mdpo", "--data.format", "vision_preference"],
    *["--model.optimizer", "AdamW", "--model.optimizer.lr", "0.001"],
]


@pytest.mark.slow
def test_killed_at_a_random_batch(tmp_path: Path, vlm_folder: Callable[[str], Path]) -> None:
    model = ["--model.modality", "vision_language", "--model.modality.model", str(vlm_folder("qwen2_5_vl"))]
    assert_resumes(tmp_path, write_pictured(tmp_path, ROWS), [*model, *OPTIONS], seed=1)
