"""The optimiser step does not depend on how its batch was split: by micro-batch, by rank, or by chance at the end."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor

from modalign import PreferenceDataModule, PreferenceModule
from modalign.core.objectives.base import Objective
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.sft import Sft
from modalign.core.objectives.weighted_sum import WeightedSum
from modalign.core.reference import FrozenReference, MovingReference
from modalign.core.schedule import Schedule
from tests.toy import Letters, Pairs, write_pairs
from tests.two_ranks import on_two_ranks


def objective(name: str) -> Objective:
    dpo, sft = Dpo(beta=0.5), Sft(normalization="token")
    return {"dpo": dpo, "sft": sft, "sum": WeightedSum({"dpo": dpo, "sft": sft}, {"sft": 0.3})}[name]


def train(
    data: Path, root: Path, name: str, batch_size: int, accumulate: int, devices: int = 1, **options
) -> dict[str, Tensor]:
    seed_everything(7, verbose=False)
    module = PreferenceModule(
        Letters(double=True),
        objective(name),
        optimizer=lambda p: torch.optim.SGD(p, lr=0.5),
        schedule=Schedule("constant"),
        **options,
    )
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        accumulate_grad_batches=accumulate,
        default_root_dir=root,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        precision="64-true",
        num_sanity_val_steps=0,
        gradient_clip_val=5.0,
    )
    trainer.fit(module, PreferenceDataModule(Pairs(), train=str(data), batch_size=batch_size))
    return {key: value.clone() for key, value in module.state_dict().items()}


def assert_same(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    for key in left:
        torch.testing.assert_close(left[key], right[key], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["dpo", "sft", "sum"])
def test_micro_batches_and_uneven_ends(tmp_path: Path, name: str) -> None:
    data = write_pairs(tmp_path / "pairs.jsonl", rows=14)  # windows of 4, 4, 4, 2
    whole = train(data, tmp_path, name, batch_size=4, accumulate=1)
    start = PreferenceModule(Letters(double=True), objective(name)).modality.load().state_dict()
    assert not torch.equal(whole["policy.head.weight"], start["head.weight"])
    assert_same(whole, train(data, tmp_path, name, batch_size=2, accumulate=2))
    assert_same(whole, train(data, tmp_path, name, batch_size=1, accumulate=4))


def test_two_ranks_equal_one(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "pairs.jsonl", rows=13)  # the last global batch leaves a rank without a row
    one = train(data, tmp_path, "sum", batch_size=4, accumulate=1)
    for two in on_two_ranks(tmp_path, lambda: train(data, tmp_path, "sum", 1, accumulate=2, devices=2)):
        assert_same(one, two)


def test_moving_reference_moves(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "pairs.jsonl", rows=12)
    frozen = train(data, tmp_path, "dpo", 4, 1, reference=FrozenReference())
    moving = train(data, tmp_path, "dpo", 4, 1, reference=MovingReference(every=2, mix=0.6))
    assert not torch.equal(frozen["policy.head.weight"], moving["policy.head.weight"])
