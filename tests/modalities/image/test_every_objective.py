"""Every registered objective trains a real UNet on pictures, through the real trainer, in the right direction."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor

from modalign import PreferenceDataModule, PreferenceModule
from modalign.core.compatibility import check_parts
from modalign.core.errors import ConfigError
from modalign.core.jsonl_logger import JsonlLogger
from modalign.core.objectives.base import Needs
from modalign.core.objectives.length import LcDpo
from modalign.core.objectives.listwise import RankDpo
from modalign.core.objectives.mapo import MaPo
from modalign.core.objectives.pairwise import Dpo, Hinge, Ipo, RobustDpo
from modalign.core.objectives.pointwise import Bco, Kto
from modalign.core.objectives.reference_free import Cpo, Orpo, SimPo
from modalign.core.objectives.sft import Sft
from modalign.core.objectives.weighted_sum import WeightedSum
from modalign.core.schedule import Schedule
from modalign.modalities.image.formats.image_pairs import ImagePairs
from modalign.modalities.image.formats.image_ranked import ImageRanked
from modalign.plugins.manager import registry
from tests.modalities.image.tiny import double, write_lists, write_pairs

BETA = 1000.0
OBJECTIVES: dict[str, Any] = {
    "dpo": lambda: Dpo(BETA),
    "dpo, smoothed": lambda: Dpo(BETA, label_smoothing=0.1),
    "robust_dpo": lambda: RobustDpo(BETA, 0.1),
    "ipo": lambda: Ipo(BETA),
    "hinge": lambda: Hinge(BETA),
    "kto": lambda: Kto(BETA),
    "kto of Diffusion-KTO": lambda: Kto(BETA, reference_point="batch"),
    "bco": lambda: Bco(BETA),
    "simpo": lambda: SimPo(BETA, gamma_beta_ratio=0.01),
    # With the likelihood's share small, the sign of the contrast is what is seen.
    "orpo": lambda: Orpo(weight=100.0),
    "cpo": lambda: Cpo(BETA),
    "mapo": MaPo,
    "rankdpo": lambda: RankDpo(BETA),
    "lc_dpo": lambda: LcDpo(BETA),
    "sft": Sft,
    "sum": lambda: WeightedSum({"dpo": Dpo(BETA), "sft": Sft()}, {"sft": 0.1}),
}


OF_OTHER_DATA = {"mm_dpo"}
"""Objectives that want what none of these formats holds: scores of both sides of a pair."""


def test_none_is_left_out_but_those_that_are_refused(stable_diffusion: Path) -> None:
    trained = {name.split()[0].rstrip(",") for name in OBJECTIVES}
    others = set(registry().names("objective")) - trained - OF_OTHER_DATA
    assert others == {"dense_dpo", "rdpo_visual", "mdpo", "symmpo", "vdpo", "povid"}
    modality = double(stable_diffusion)
    for name in others:
        with pytest.raises(ConfigError, match="which the modality 'image' does not"):
            check_parts(modality, registry().load("objective", name)(), None)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_trains_in_the_right_direction(tmp_path: Path, stable_diffusion: Path, name: str) -> None:
    """Two steps along the gradient: the better picture's error falls against the worse one's, under the same draws."""
    seed_everything(1, verbose=False)
    lists = name == "rankdpo"
    file = write_lists(tmp_path, [3, 2, 3]) if lists else write_pairs(tmp_path, 4)
    data = PreferenceDataModule(ImageRanked(pairs="none") if lists else ImagePairs(), train=str(file), batch_size=4)
    modality = double(stable_diffusion, draw_cycle=1)
    module = PreferenceModule(
        modality,
        OBJECTIVES[name](),
        optimizer=lambda p: torch.optim.SGD(p, lr=1.0),
        schedule=Schedule("constant"),
    )
    trainer = Trainer(
        max_steps=2,
        accelerator="cpu",
        logger=JsonlLogger(str(tmp_path)),
        log_every_n_steps=1,
        default_root_dir=tmp_path,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        gradient_clip_val=1e-3,  # the length of a step
    )
    trainer.fit(module, data)
    assert trainer.global_step == 2
    losses = [
        json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines() if "loss" in line
    ]
    assert len(losses) == 2
    assert all(map(math.isfinite, losses))
    start = modality.load()
    moved = [not torch.equal(a, b) for a, b in zip(start.parameters(), module.policy.parameters(), strict=True)]
    assert all(moved), "of a full fine-tuning, every parameter gets a gradient"
    before, after = contrast(data, modality, start), contrast(data, modality, module.policy)
    if name == "sft":
        assert after[0] < before[0]
    else:
        assert after[0] - after[1] < before[0] - before[1]


@torch.no_grad()
def contrast(data: PreferenceDataModule, modality: Any, model: torch.nn.Module) -> tuple[Tensor, Tensor]:
    """Mean error of the first picture of each row, which is the better one, and of the last."""
    (batch,) = data.all_batches(0, 1)
    errors = -modality.likelihood(model, batch, Needs()).logps
    last = batch.mask.shape[1] - 1 - batch.mask.flip(1).int().argmax(1)
    if "rejected" in batch.roles:
        last = torch.full_like(last, batch.column("rejected"))
    return errors[:, 0].mean(), errors.gather(1, last[:, None]).mean()
