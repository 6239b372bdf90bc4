"""One response under two prompts: objectives that compare contexts train language models too."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modalign.cli import main
from modalign.core.batch import CHOSEN, OTHER_PROMPT, Candidate, Comparison
from modalign.core.errors import RowError
from modalign.core.extra_cells import add_cells
from modalign.core.objectives.base import Needs, Objective
from modalign.core.objectives.guided import VDpo
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.visual import RdpoVisual
from modalign.core.objectives.weighted_sum import WeightedSum
from modalign.modalities.text.modality import Text
from tests.modalities.text.conftest import PAIRS, chat, pair, reply

ROLES = ("chosen@other_prompt", "rejected@other_prompt")
OTHER = "The dog number 3"
ROUNDING = 1e-4
"""A Llama of float64 weights still takes its norms in float32."""


def test_cells_have_the_responses_under_the_other_prompt(text: Callable[..., Text]) -> None:
    modality = text()
    row = pair("The cat", " sat", " said", extra={OTHER_PROMPT: OTHER})
    more = add_cells(row, ROLES, modality)
    assert [(each.role, each.response, each.context) for each in more.candidates[2:]] == [
        (ROLES[0], " sat", OTHER),
        (ROLES[1], " said", OTHER),
    ]
    cells, there = modality.encode(more).cells, modality.encode(pair(OTHER, " sat", " said")).cells
    for mine, theirs in zip(cells[2:], there, strict=True):
        assert torch.equal(mine.prompt, theirs.prompt)
        assert torch.equal(mine.completion, theirs.completion)
    assert not torch.equal(cells[0].prompt, cells[2].prompt)


@pytest.mark.parametrize("extra", [{}, {OTHER_PROMPT: ""}])
def test_a_row_without_another_prompt_names_the_column(text: Callable[..., Text], extra: Any) -> None:
    with pytest.raises(RowError) as caught:
        add_cells(pair("The cat", " sat", " said", extra=extra), ROLES, text())
    assert caught.value.column == "other_prompt"
    with pytest.raises(RowError, match="no chosen response"):
        add_cells(Comparison("p", (Candidate("c"),), extra={OTHER_PROMPT: OTHER}), ROLES, text())


def parameter_gradient(modality: Text, objective: Objective, rows: list[Comparison]) -> torch.Tensor:
    model, reference = modality.load().double().eval(), modality.load().double().eval()
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.mul_(1.1)
    whole = [add_cells(row, objective.extra_roles, modality) for row in rows]
    batch = modality.collate([modality.encode(row) for row in whole], range(len(rows)))
    before = modality.likelihood(reference, batch, Needs()).detach()
    objective(modality.likelihood(model, batch, objective.needs), before, batch).loss(batch).backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])


def apart_by(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, as a share of the largest entry."""
    return float((one - other).abs().max() / other.abs().max())


def test_the_same_prompt_twice_adds_no_gradient(text: Callable[..., Text]) -> None:
    rows = [
        pair(row.prompt, *(each.response for each in row.candidates), extra={OTHER_PROMPT: row.prompt}) for row in PAIRS
    ]
    plain = parameter_gradient(text(), Dpo(0.5), rows)
    both = parameter_gradient(text(), RdpoVisual(0.5, contrast=OTHER_PROMPT), rows)
    assert apart_by(both, plain) < ROUNDING
    others = [
        pair("The cat", " sat on the mat", " said: go 3!", extra={OTHER_PROMPT: OTHER}),
        pair(chat("go 4!"), reply("The cat said"), reply("no"), extra={OTHER_PROMPT: chat("go 5!")}),
    ]
    plain, both = (
        parameter_gradient(text(), objective, others)
        for objective in (Dpo(0.5), RdpoVisual(0.5, contrast=OTHER_PROMPT))
    )
    assert apart_by(both, plain) > 1e-2


def test_in_a_sum_a_cell_has_a_gradient_as_soon_as_one_part_wants_it(text: Callable[..., Text]) -> None:
    """V-DPO takes its cells as numbers; rDPO learns from one of them."""
    rows = [pair("The cat", " sat on the mat", " said: go 3!", extra={OTHER_PROMPT: OTHER})]
    rdpo, vdpo = RdpoVisual(0.5, contrast=OTHER_PROMPT), VDpo(0.5, unguided="policy", contrast=OTHER_PROMPT)
    together = WeightedSum({"rdpo": rdpo, "vdpo": vdpo}, {"vdpo": 0.25})
    assert together.extra_roles == ROLES
    assert together.needs.no_grad_roles == {ROLES[1]}
    apart = parameter_gradient(text(), rdpo, rows) + 0.25 * parameter_gradient(text(), vdpo, rows)
    assert apart_by(parameter_gradient(text(), together, rows), apart) < ROUNDING
    assert apart_by(parameter_gradient(text(), rdpo, rows), apart) > 1e-2


def write_rows(path: Path, others: bool = True) -> Path:
    rows = [{"prompt": f"Is ball {n} round?", "chosen": f" Yes, {n}.", "rejected": f" No {n}."} for n in range(6)]
    if others:
        rows = [row | {"other_prompt": f"Is box {n} round?"} for n, row in enumerate(rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def fit(tiny_model: Path, data: Path, *more: str) -> int:
    options = {
        "--model.modality": "text",
        "--model.modality.model": str(tiny_model),
        "--model.modality.max_length": "64",
        "--model.optimizer": "AdamW",
        "--model.optimizer.lr": "0.001",
        "--data.train": str(data),
        "--data.batch_size": "3",
        "--trainer.max_steps": "3",
        "--trainer.accelerator": "cpu",
        "--trainer.log_every_n_steps": "1",
        "--trainer.default_root_dir": str(data.parent / "run"),
        "--export.enabled": "false",
    }
    return main(["fit", *(part for pair in options.items() for part in pair), *more])


def logged(folder: Path) -> list[dict[str, float]]:
    (file,) = (folder / "run").rglob("metrics.jsonl")
    return [row for row in map(json.loads, file.read_text().splitlines()) if "loss" in row]


def test_rdpo_of_prompts_by_the_program_and_with_a_cached_reference(tiny_model: Path, tmp_path: Path) -> None:
    runs = []
    for number, reference in enumerate(["frozen", "cached"]):
        folder = tmp_path / str(number)
        folder.mkdir()
        data = write_rows(folder / "rows.jsonl")
        objective = ["--model.objective", "rdpo_visual", "--model.objective.contrast", "other_prompt"]
        assert fit(tiny_model, data, *objective, "--model.reference", reference) == 0
        runs.append(logged(folder))
    first = runs[0][0]
    assert first["loss"] == pytest.approx(2 * 0.693147, rel=1e-4)
    assert first["rewards/prompt_margins"] == pytest.approx(0, abs=1e-5)
    assert len(runs[0]) == 3
    assert runs[0][2]["rewards/prompt_margins"] != first["rewards/prompt_margins"]
    for one, other in zip(*runs, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)


def test_what_is_missing_is_told(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_rows(tmp_path / "rows.jsonl", others=False)
    objective = ["--model.objective", "rdpo_visual"]
    assert fit(tiny_model, data, *objective, "--model.objective.contrast", "other_prompt") == 1
    assert "column 'other_prompt': no value" in capsys.readouterr().err
    assert fit(tiny_model, data, *objective) == 2
    told = capsys.readouterr().err
    assert "chosen@other_image" in told
    assert "chosen@other_prompt" in told
    assert "contrast" in told
    assert fit(tiny_model, data, "--model.objective", "povid") == 2
    assert "misled_logps" in capsys.readouterr().err
    assert fit(tiny_model, data, "--model.objective", "dense_dpo", "--model.reference", "cached") == 2
    assert "frozen" in capsys.readouterr().err


def test_dense_dpo_by_the_program_with_the_datas_marks(tiny_model: Path, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.jsonl")
    rows = [json.loads(line) | {"marks": {CHOSEN: [[1, 4]]}} for line in data.read_text().splitlines()]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = [
        *("--data.format", "columns", "--data.format.prompt", "prompt", "--data.format.chosen", "chosen"),
        *("--data.format.rejected", "rejected", "--data.format.corrected_spans", "marks"),
    ]
    assert fit(tiny_model, data, "--model.objective", "dense_dpo", *columns) == 0
    rows_logged = logged(tmp_path)
    assert rows_logged[0]["loss"] == pytest.approx(0.693147, rel=1e-4)
    assert 0 < rows_logged[0]["corrected/chosen"] < 1
    assert rows_logged[2]["loss"] < rows_logged[0]["loss"]
