"""Ranked lists from a file to a trained policy."""

import json
from pathlib import Path
from random import Random

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything

from modalign import PreferenceDataModule, PreferenceModule
from modalign.core.errors import ConfigError
from modalign.core.jsonl_logger import JsonlLogger
from modalign.core.objectives.listwise import RankDpo
from modalign.core.schedule import Schedule
from modalign.plugins.formats.ranked import Ranked
from tests.toy import Letters


def write_lists(path: Path, rows: int) -> Path:
    """Lists of two to five responses, scored by their share of vowels."""
    draw = Random(3)
    lines = []
    for row in range(rows):
        words = {"".join(draw.choice("aeioubcdfgxyz") for _ in range(6)) for _ in range(draw.randint(2, 5))}
        responses = ["aeiou", "bcdfg", *sorted(words)][: draw.randint(2, 5)]
        scores = [sum(letter in "aeiou" for letter in response) / len(response) for response in responses]
        lines.append(json.dumps({"prompt": f"k{row}q", "completions": responses, "scores": scores}))
    path.write_text("\n".join(lines) + "\n")
    return path


def fit(root: Path, format: Ranked, batch_size: int = 6, accumulate: int = 1) -> tuple[PreferenceModule, Trainer]:
    seed_everything(5, verbose=False)
    rows = write_lists(root / "lists.jsonl", 24)
    module = PreferenceModule(
        Letters(double=True),
        RankDpo(beta=0.5),
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=0.05),
        schedule=Schedule("constant"),
    )
    trainer = Trainer(
        max_epochs=4,
        accelerator="cpu",
        accumulate_grad_batches=accumulate,
        logger=JsonlLogger(str(root)),
        log_every_n_steps=1,
        default_root_dir=root,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, PreferenceDataModule(format, train=str(rows), batch_size=batch_size))
    return module, trainer


def test_a_policy_learns_the_order_of_lists(tmp_path: Path) -> None:
    module, _ = fit(tmp_path, Ranked(pairs="none"))
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in logged if "rewards/accuracies" in row]
    assert steps[0]["rewards/accuracies"] == 0
    assert steps[-1]["rewards/accuracies"] > 0.9
    assert steps[-1]["rewards/margins"] > 0.1
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert module.objective.start_loss is None


def test_micro_batches_of_lists_make_the_same_step(tmp_path: Path) -> None:
    """Lists of other lengths pad each batch otherwise."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, _ = fit(tmp_path / "a", Ranked(pairs="none"), batch_size=6)
    split, _ = fit(tmp_path / "b", Ranked(pairs="none"), batch_size=2, accumulate=3)
    for (name, a), b in zip(one.policy.named_parameters(), split.policy.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9, msg=name)


def test_lists_split_into_pairs_are_refused_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"RankDpo learns from ranked lists(.|\n)*pairs: none"):
        fit(tmp_path, Ranked())
