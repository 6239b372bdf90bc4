"""Objectives on models that hear, through the real trainer: what they start from, what trains, what is exact."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import seed_everything
from torch import Tensor

from modalign import PreferenceDataModule, PreferenceModule
from modalign.core.batch import OTHER_AUDIO
from modalign.core.errors import ConfigError, UserError
from modalign.core.jsonl_logger import JsonlLogger
from modalign.core.objectives.base import Objective
from modalign.core.objectives.distracted import Povid
from modalign.core.objectives.guided import VDpo
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.symmetric import SymMpo
from modalign.core.objectives.visual import MDpo, RdpoVisual
from modalign.core.schedule import Schedule
from modalign.modalities.audio.formats.heard_preference import HeardPreference
from modalign.modalities.audio.language.modality import AudioLanguage
from modalign.modalities.audio.variants.base import AudioVariant
from modalign.modalities.audio.variants.noised import Noised
from modalign.modalities.audio.variants.other_clip import OtherClip
from modalign.modalities.audio.variants.silent import Silent
from tests.modalities.vision_language.tiny import trainer

from .rows import write_pairs

ModalityOf = Callable[..., AudioLanguage]

OBJECTIVES: dict[str, tuple[Callable[[], Objective], AudioVariant | None]] = {
    "dpo": (Dpo, None),
    "rdpo_visual": (lambda: RdpoVisual(contrast=OTHER_AUDIO), OtherClip("row")),
    "mdpo": (lambda: MDpo(contrast=OTHER_AUDIO), None),
    "symmpo": (lambda: SymMpo(contrast=OTHER_AUDIO), None),
    "vdpo": (lambda: VDpo(contrast=OTHER_AUDIO), Silent()),
    "povid": (lambda: Povid(contrast=OTHER_AUDIO), Noised()),
}
"""Each with the sound that it compares with: null is the data's own."""


def train(
    modality: AudioLanguage, objective: Objective, data: Path, batch_size: int = 4, accumulate: int = 1, **options: Any
) -> dict[str, Tensor]:
    """The policy's weights after some epochs."""
    seed_everything(7, verbose=False)
    module = PreferenceModule(
        modality, objective, optimizer=lambda p: torch.optim.SGD(p, lr=0.02), schedule=Schedule("constant")
    )
    chosen = {"max_epochs": 1, "gradient_clip_val": 1.0, "accumulate_grad_batches": accumulate, **options}
    trainer(data.parent, **chosen).fit(
        module, PreferenceDataModule(HeardPreference(), train=str(data), batch_size=batch_size)
    )
    return {key: value.clone() for key, value in module.policy.state_dict().items()}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_trains_the_language_model_alone(tmp_path: Path, modality_of: ModalityOf, name: str) -> None:
    """The loss begins where policy and reference are equal, ln 2 for DPO, and falls."""
    make, variant = OBJECTIVES[name]
    objective, modality = make(), modality_of(other_audio=variant)
    logger = {"logger": JsonlLogger(str(tmp_path)), "log_every_n_steps": 1}
    after = train(modality, objective, write_pairs(tmp_path, 4), max_epochs=3, gradient_clip_val=0.2, **logger)
    lines = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 3
    assert losses[2] < losses[0]
    if objective.start_loss is not None:
        assert losses[0] == pytest.approx(objective.start_loss, rel=1e-6)
    if name == "dpo":
        assert losses[0] == pytest.approx(math.log(2), rel=1e-6)
    start = modality.load().state_dict()
    moved = {key for key in start if not torch.equal(start[key], after[key])}
    assert moved == {key for key in start if "language_model" in key or key.startswith("lm_head")}


@pytest.mark.parametrize("name", ["dpo", "rdpo_visual"])
def test_micro_batches_and_uneven_ends(tmp_path: Path, modality_of: ModalityOf, name: str) -> None:
    data = write_pairs(tmp_path, 6, text_only=0 if name == "rdpo_visual" else 3)  # windows of 4 and 2
    make, variant = OBJECTIVES[name]
    modality = modality_of(dtype="float64", other_audio=variant)
    whole, *others = (train(modality, make(), data, size, 4 // size, precision="64-true") for size in (4, 2, 1))
    start = modality.load().state_dict()
    assert max((whole[key] - start[key]).abs().max().item() for key in whole) > 1e-3
    for split in others:
        for key, value in whole.items():
            torch.testing.assert_close(split[key], value, rtol=0, atol=1e-9)


@pytest.mark.parametrize("make", [RdpoVisual, MDpo, SymMpo, VDpo, Povid])
def test_a_contrast_of_images_names_that_of_sounds(make: Callable[[], Objective], modality_of: ModalityOf) -> None:
    with pytest.raises(ConfigError, match=r"@other_image, which the modality 'audio_language' does not") as told:
        PreferenceModule(modality_of(), make())
    assert "contrast: other_audio" in str(told.value)


def test_rows_that_lack_what_is_compared_are_refused(tmp_path: Path, modality_of: ModalityOf) -> None:
    data = write_pairs(tmp_path, 4, text_only=2)
    with pytest.raises(
        UserError, match=r"row 0.*the prompt has no sound: the objective compares its sound with another"
    ):
        train(modality_of(other_audio=Silent()), RdpoVisual(contrast=OTHER_AUDIO), data)
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    rows[1]["other_audios"] = None
    data.write_text(json.dumps(rows[1]) + "\n")
    with pytest.raises(UserError, match="row 0, column 'other_audios': the row has no other sound"):
        train(modality_of(), RdpoVisual(contrast=OTHER_AUDIO), data)


def test_start_notes(modality_of: ModalityOf) -> None:
    modality = modality_of(other_audio=Silent())
    modality.load()
    frozen, unused = modality.start_notes(Dpo())
    assert frozen.endswith("frozen without modality.train_audio: model.audio_tower, model.multi_modal_projector")
    assert unused == "modality.other_audio has no part in this run: Dpo compares no other sound"
    assert list(modality.start_notes(RdpoVisual(contrast=OTHER_AUDIO))) == [frozen]
