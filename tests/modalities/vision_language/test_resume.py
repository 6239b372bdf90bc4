"""A vision-language run killed at any moment and resumed ends in the numbers of one never killed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.recipes import write_pictured
from tests.resuming import ROWS, assert_resumes

LORA = ["--model.modality.lora.r", "4", "--model.objective", "rdpo_visual"]
FULL = ["--model.reference", "cached", "--model.objective", "mdpo"]
OPTIONS = [
    *["--model.modality.other_image", "cropped", "--model.modality.max_length", "256"],
    *["--model.optimizer", "AdamW", "--model.optimizer.lr", "0.001", "--data.format", "vision_preference"],
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "seed", "trained"), [("qwen2_5_vl", 0, LORA), ("llava", 1, FULL)], ids=["lora", "full"]
)
def test_killed_at_a_random_batch(
    tmp_path: Path, vlm_folder: Callable[[str], Path], family: str, seed: int, trained: list[str]
) -> None:
    model = ["--model.modality", "vision_language", "--model.modality.model", str(vlm_folder(family))]
    assert_resumes(tmp_path, write_pictured(tmp_path, ROWS), [*model, *OPTIONS, *trained], seed)
