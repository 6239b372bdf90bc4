"""The task `preference` on pictures: the same draws before and after training, cached latents or not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modalign.core.batch import EVALUATION
from modalign.core.errors import ConfigError
from modalign.core.evaluation import Evaluation, Question
from modalign.core.modality import Modality
from modalign.core.objectives.base import Needs
from modalign.core.response_files import read_rows
from modalign.modalities.image.modality import Image
from modalign.plugins.tasks.preference import PreferenceAccuracy

from .pictures import disturb, picture

CPU = torch.device("cpu")
ROWS = 5


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    rows = []
    for number in range(ROWS):
        for role in ("chosen", "rejected"):
            picture(2 * number + (role == "rejected")).save(tmp_path / f"{role}{number}.png")
        rows.append(
            {"prompt": f"circle {number}", "chosen": f"chosen{number}.png", "rejected": f"rejected{number}.png"}
        )
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def logps(modality: Modality, model: Any, items: Any) -> list[dict[str, float]]:
    """Of all rows in one batch, as validation computes them."""
    batch = modality.collate([example for _, example in items], range(ROWS), EVALUATION)
    with torch.no_grad():
        found = modality.likelihood(model.eval(), batch, Needs()).logps.tolist()
    return [dict(zip(batch.roles, row, strict=True)) for row in found]


@pytest.mark.parametrize("cache", ["off", "disk"])
def test_pictures_before_and_after(image: Callable[..., Image], pairs_file: Path, tmp_path: Path, cache: str) -> None:
    folder = {"cache_folder": str(tmp_path / "cache")} if cache == "disk" else {}
    modality = image(cache=cache, **folder)
    task = PreferenceAccuracy(pairs_file, batch_size=2)
    evaluation = Evaluation(tmp_path / "found", Question(task, modality, CPU))
    model = modality.load()
    expected = {"base": logps(modality, model, evaluation.items)}
    evaluation.add("base", model)
    disturb(model)
    expected["aligned"] = logps(modality, model, evaluation.items)
    evaluation.add("aligned", model)
    for policy, wanted in expected.items():
        rows = [row for row in read_rows(tmp_path / "found" / "rows.jsonl") if row["policy"] == policy]
        for row, values in zip(rows, wanted, strict=True):
            assert row["logps"] == pytest.approx(values, rel=1e-4)
    figures = evaluation.figures(["base", "aligned"])
    # A picture is one unit: a mean over units would say the same again.
    assert list(figures["base"]) == ["chosen > rejected"]
    assert list(figures["aligned"]) == ["chosen > rejected", "chosen > rejected, over base"]
    better = [row["chosen"] > row["rejected"] for row in expected["base"]]
    assert figures["base"]["chosen > rejected"].value == sum(better) / ROWS
    gained = [
        now["chosen"] - before["chosen"] > now["rejected"] - before["rejected"]
        for now, before in zip(expected["aligned"], expected["base"], strict=True)
    ]
    assert figures["aligned"]["chosen > rejected, over base"].value == sum(gained) / ROWS


def test_what_pictures_have_not_is_refused(image: Callable[..., Image], pairs_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="contrast is 'other_image'"):
        PreferenceAccuracy(pairs_file, contrast="other_image").run(image(), torch.nn.Linear(1, 1))
    rows = [{"prompt": "circle", "image": "chosen0.png"}]
    (tmp_path / "captions.jsonl").write_text(json.dumps(rows[0]) + "\n")
    with pytest.raises(ConfigError, match="holds no pairs"):
        PreferenceAccuracy(tmp_path / "captions.jsonl").items(image(), CPU)
