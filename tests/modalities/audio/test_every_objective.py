"""Every registered objective trains a real flow transformer on sounds, in the right direction."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from modalign import PreferenceDataModule
from modalign.core.compatibility import check_parts
from modalign.core.errors import ConfigError
from modalign.core.objectives.base import Needs
from modalign.core.objectives.length import LcDpo
from modalign.core.objectives.listwise import RankDpo
from modalign.core.objectives.mapo import MaPo
from modalign.core.objectives.pairwise import Dpo, Hinge, Ipo, RobustDpo
from modalign.core.objectives.pointwise import Bco, Kto
from modalign.core.objectives.reference_free import Cpo, Orpo, SimPo
from modalign.core.objectives.sft import Sft
from modalign.core.objectives.weighted_sum import WeightedSum
from modalign.modalities.audio.modality import Audio
from modalign.plugins.manager import registry
from tests.modalities.audio.training import double, train, write_lists, write_pairs, write_thumbs

BETA = 1000.0
OBJECTIVES: dict[str, Any] = {
    "dpo": lambda: Dpo(BETA),
    "robust_dpo": lambda: RobustDpo(BETA, 0.1),
    "ipo": lambda: Ipo(BETA),
    "hinge": lambda: Hinge(BETA),
    "kto": lambda: Kto(BETA),
    "bco": lambda: Bco(BETA),
    "simpo": lambda: SimPo(BETA, gamma_beta_ratio=0.01),
    # With the likelihood's share small, the sign of the contrast is what is seen.
    "orpo": lambda: Orpo(weight=1000.0),
    "cpo": lambda: Cpo(BETA),
    "mapo": lambda: MaPo(beta=1000.0),
    "rankdpo": lambda: RankDpo(BETA),
    "lc_dpo": lambda: LcDpo(BETA),
    "sft": Sft,
    "sum": lambda: WeightedSum({"dpo": Dpo(BETA), "sft": Sft()}, {"sft": 0.1}),
}
OF_OTHER_DATA = {"mm_dpo"}
"""Objectives that want what these rows do not hold: scores of both sides of a pair."""


def test_none_is_left_out_but_those_that_are_refused() -> None:
    others = set(registry().names("objective")) - set(OBJECTIVES) - OF_OTHER_DATA
    assert others == {"dense_dpo", "rdpo_visual", "mdpo", "symmpo", "vdpo", "povid"}
    modality = Audio("nowhere", cache="off")
    for name in others:
        with pytest.raises(ConfigError, match="which the modality 'audio' does not"):
            check_parts(modality, registry().load("objective", name)(), None)


@pytest.fixture(scope="module")
def modality(audio_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Audio:
    """One for all runs, whose encoders are loaded and whose latents are encoded once."""
    cache = str(tmp_path_factory.mktemp("cache"))
    return double(audio_folder("waveform.tangoflux"), draw_cycle=1, cache="disk", cache_folder=cache)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_trains_in_the_right_direction(tmp_path: Path, modality: Audio, name: str) -> None:
    """Two small steps: the better sound's error falls against the worse one's, under the same draws."""
    file = write_lists(tmp_path, [3, 2, 3]) if name == "rankdpo" else write_pairs(tmp_path, 3)
    module = train(modality, file, OBJECTIVES[name](), learning_rate=1.0, max_steps=2, gradient_clip_val=1e-3)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) == 2
    assert all(map(math.isfinite, losses))
    data, start = module.trainer.datamodule, modality.load()  # type: ignore[attr-defined]
    before, after = contrast(data, modality, start), contrast(data, modality, module.policy)
    if name == "sft":
        assert after[0] < before[0]
    else:
        assert after[0] - after[1] < before[0] - before[1]


def test_kto_learns_from_thumbs(tmp_path: Path, modality: Audio) -> None:
    """Good sounds' error falls against the bad ones', from two steps on rows of one sound each."""
    file = write_thumbs(tmp_path, 4)
    module = train(modality, file, Kto(BETA), learning_rate=1.0, max_steps=2, gradient_clip_val=1e-3)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[0] == pytest.approx(0.5)
    assert len(losses) == 2
    data = module.trainer.datamodule  # type: ignore[attr-defined]
    (batch,) = data.all_batches(0, 1)
    good = batch.scores[:, 0] > 0
    assert good.sum() == 2
    with torch.no_grad():
        before, after = (
            -modality.likelihood(model, batch, Needs()).logps[:, 0] for model in (modality.load(), module.policy)
        )
    assert (after - before)[good].mean() < (after - before)[~good].mean()


@torch.no_grad()
def contrast(data: PreferenceDataModule, modality: Audio, model: torch.nn.Module) -> tuple[Tensor, Tensor]:
    """Mean error of the first sound of each row, which is the better one, and of the last."""
    (batch,) = data.all_batches(0, 1)
    errors = -modality.likelihood(model, batch, Needs()).logps
    last = batch.mask.shape[1] - 1 - batch.mask.flip(1).int().argmax(1)
    if "rejected" in batch.roles:
        last = torch.full_like(last, batch.column("rejected"))
    return errors[:, 0].mean(), errors.gather(1, last[:, None]).mean()
