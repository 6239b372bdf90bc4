"""Training on pictures is exact: however a step is split, with a cached reference, and LoRA starts at ln 2."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor

from modalign import PreferenceDataModule, PreferenceModule
from modalign.core.errors import ConfigError
from modalign.core.objectives.base import Needs, Objective
from modalign.core.objectives.listwise import RankDpo
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.sft import Sft
from modalign.core.objectives.weighted_sum import WeightedSum
from modalign.core.reference import AdapterReference, CachedReference, FrozenReference, Reference
from modalign.core.schedule import Schedule
from modalign.modalities.diffusion.timesteps import Timesteps
from modalign.modalities.image.formats.image_pairs import ImagePairs
from modalign.modalities.image.formats.image_ranked import ImageRanked
from modalign.modalities.image.modality import Image
from modalign.modalities.lora import Lora
from tests.modalities.image.tiny import double, write_lists, write_pairs
from tests.two_ranks import on_two_ranks

LISTS = [2, 3, 2, 4, 2, 3, 2]


def objective(name: str) -> Objective:
    return {
        "dpo": lambda: Dpo(500.0),
        "sum": lambda: WeightedSum({"dpo": Dpo(500.0), "sft": Sft()}, {"sft": 0.3}),
        "rankdpo": lambda: RankDpo(500.0),
    }[name]()


def train(
    pipeline: Path,
    data: Path,
    name: str = "dpo",
    batch_size: int = 4,
    accumulate: int = 1,
    devices: int = 1,
    reference: Reference | None = None,
    modality: Image | None = None,
    precision: Any = "64-true",
    workers: int = 0,
) -> dict[str, Tensor]:
    """Two epochs; the policy's weights."""
    seed_everything(7, verbose=False)
    module = PreferenceModule(
        modality or double(pipeline, flip=True, caption_dropout=0.3, draws=2),
        objective(name),
        reference,
        optimizer=lambda p: torch.optim.SGD(p, lr=0.02),
        schedule=Schedule("constant"),
    )
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        accumulate_grad_batches=accumulate,
        precision=precision,
        default_root_dir=data.parent,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        gradient_clip_val=1.0,
    )
    format = ImageRanked(pairs="none") if name == "rankdpo" else ImagePairs()
    trainer.fit(module, PreferenceDataModule(format, train=str(data), batch_size=batch_size, workers=workers))
    return {key: value.clone() for key, value in module.policy.state_dict().items()}


def assert_close(left: dict[str, Tensor], right: dict[str, Tensor], atol: float = 1e-11) -> None:
    for key in left:
        torch.testing.assert_close(left[key], right[key], rtol=0, atol=atol)


def written(folder: Path, name: str, rows: int) -> Path:
    return write_lists(folder, LISTS[:rows]) if name == "rankdpo" else write_pairs(folder, rows)


@pytest.mark.parametrize("name", ["dpo", "rankdpo"])
def test_micro_batches_and_uneven_ends(tmp_path: Path, stable_diffusion: Path, name: str) -> None:
    data = written(tmp_path, name, 6)  # windows of 4 and 2
    whole = train(stable_diffusion, data, name)
    start = double(stable_diffusion).load().state_dict()
    assert max((whole[key] - start[key]).abs().max().item() for key in whole) > 1e-4
    assert_close(whole, train(stable_diffusion, data, name, batch_size=2, accumulate=2))
    assert_close(whole, train(stable_diffusion, data, name, batch_size=1, accumulate=4))


def test_two_ranks_equal_one(tmp_path: Path, stable_diffusion: Path) -> None:
    data = written(tmp_path, "sum", 5)  # the last global batch leaves a rank without a row
    one = train(stable_diffusion, data, "sum")
    for two in on_two_ranks(tmp_path, lambda: train(stable_diffusion, data, "sum", 1, accumulate=2, devices=2)):
        assert_close(one, two)


class Counting(Image):
    """Counts the rows whose likelihood was computed without gradient."""

    _read_ahead = 0

    def likelihood(self, model: Any, batch: Any, needs: Needs) -> Any:
        self._read_ahead += 0 if torch.is_grad_enabled() else len(batch)
        return super().likelihood(model, batch, needs)


@pytest.mark.parametrize("name", ["dpo", "rankdpo"])
def test_cached_reference_equals_a_live_one(tmp_path: Path, stable_diffusion: Path, name: str) -> None:
    """Batches of one row, so that a row's numbers are the same to the bit; every epoch has its own draws."""

    def options() -> dict[str, Any]:
        drawn = {"flip": True, "caption_dropout": 0.3, "cache_folder": str(tmp_path / "frozen")}
        return {
            "name": name,
            "batch_size": 1,
            "precision": "32-true",
            "modality": Counting(str(stable_diffusion), **drawn),
        }

    data = written(tmp_path, name, 3)
    cached, first, second = str(tmp_path / "cache.sqlite"), options(), options()
    live = train(stable_diffusion, data, reference=FrozenReference(), **options())
    assert_close(live, train(stable_diffusion, data, reference=CachedReference(cached), **first), atol=0)
    assert first["modality"]._read_ahead == 2 * 3
    assert_close(live, train(stable_diffusion, data, reference=CachedReference(cached), **second), atol=0)
    assert second["modality"]._read_ahead == 0, "a second run finds all of it"


def test_data_workers_change_nothing(tmp_path: Path, stable_diffusion: Path) -> None:
    data = written(tmp_path, "dpo", 4)
    assert_close(train(stable_diffusion, data), train(stable_diffusion, data, workers=1), atol=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_lora_starts_at_ln_2(tmp_path: Path, stable_diffusion: Path, dtype: Any) -> None:
    """To the bit: the policy is the base until its first step, and so is its reference."""
    modality = Image(str(stable_diffusion), dtype=dtype, lora=Lora(r=2), cache="off")
    data = PreferenceDataModule(ImagePairs(), train=str(written(tmp_path, "dpo", 3)), batch_size=3)
    data.connect(modality, Dpo(2500.0))
    data.trainer = Trainer(default_root_dir=tmp_path, logger=False, enable_checkpointing=False, accelerator="cpu")
    data.setup("fit")
    (batch,) = data.all_batches(0, 1)
    policy, reference = modality.load(), AdapterReference()
    ours = modality.likelihood(policy, batch, Needs())
    theirs = reference.likelihood(modality, policy, batch, Needs())
    assert ours.logps.dtype == torch.float32
    assert ours.logps.requires_grad
    losses = Dpo(2500.0)(ours, theirs, batch).terms[0].values
    assert losses.tolist() == [torch.tensor(2.0).log().item()] * 3
    assert losses.tolist() == pytest.approx([math.log(2)] * 3)


def test_time_steps_the_model_does_not_have_are_refused_before_anything_is_computed(stable_diffusion: Path) -> None:
    with pytest.raises(ConfigError, match="1000, and the model was trained with 1000 time steps"):
        double(stable_diffusion, timesteps=Timesteps("fixed", values=[249, 1000])).load()
    double(stable_diffusion, timesteps=Timesteps("fixed", values=[249, 999])).load()
