"""Every registered objective trains a real vision-language model, through the real trainer, and leaves its tower be."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import seed_everything

from modalign import PreferenceDataModule, PreferenceModule
from modalign.core.errors import ConfigError, UserError
from modalign.core.format import Format
from modalign.core.jsonl_logger import JsonlLogger
from modalign.core.objectives.base import Feedback, Needs, Objective
from modalign.core.objectives.dense import DenseDpo
from modalign.core.objectives.distracted import Povid
from modalign.core.objectives.listwise import RankDpo
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.scaled import MmDpo
from modalign.core.objectives.sft import Sft
from modalign.core.objectives.symmetric import SymMpo
from modalign.core.objectives.visual import MDpo, RdpoVisual
from modalign.core.objectives.weighted_sum import WeightedSum
from modalign.core.reference import CachedReference
from modalign.core.schedule import Schedule
from modalign.modalities.text.modality import Text
from modalign.modalities.vision_language.formats.symmpo import SymMpo as TwoImages
from modalign.modalities.vision_language.formats.vision_demonstration import VisionDemonstration
from modalign.modalities.vision_language.formats.vision_preference import VisionPreference
from modalign.modalities.vision_language.formats.vision_unpaired import VisionUnpaired
from modalign.modalities.vision_language.formats.vlfeedback import VlFeedback
from modalign.modalities.vision_language.modality import VisionLanguage
from modalign.modalities.vision_language.variants.base import ImageVariant
from modalign.modalities.vision_language.variants.black import Black
from modalign.modalities.vision_language.variants.cropped import Cropped
from modalign.modalities.vision_language.variants.noised import Noised
from modalign.plugins.manager import registry
from tests.modalities.vision_language import tiny

MakeFolder = Callable[[str], Path]

ROWS = 4
SUM = "sum"
OBJECTIVES = {name: registry().load("objective", name) for name in registry().names("objective") if name != SUM}
OBJECTIVES[SUM] = lambda: WeightedSum({"mdpo": MDpo(), "povid": Povid(), "dense": DenseDpo(), "sft": Sft()})
VARIANTS: dict[str, ImageVariant] = {"mdpo": Cropped(), "povid": Noised(), "vdpo": Black(), SUM: Noised()}
"""The image that a method compares with where it is not the data's own."""

DATA: dict[Feedback, tuple[Callable[[Path, int], Path], Format]] = {
    Feedback.PAIRWISE: (tiny.write_pairs, VisionPreference()),
    Feedback.POINTWISE: (tiny.write_labels, VisionUnpaired()),
    Feedback.LISTWISE: (tiny.write_lists, VlFeedback(pairs="none")),
    Feedback.DEMONSTRATION: (tiny.write_demonstrations, VisionDemonstration()),
}


def module_of(modality: VisionLanguage, objective: Objective) -> PreferenceModule:
    return PreferenceModule(
        modality, objective, optimizer=lambda p: torch.optim.SGD(p, lr=1.0), schedule=Schedule("constant")
    )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_trains_the_language_model_alone(tmp_path: Path, vlm_folder: MakeFolder, name: str) -> None:
    """Steps over the same rows, and the loss falls from where it starts while policy and reference are equal."""
    seed_everything(1, verbose=False)
    objective = OBJECTIVES[name]()
    write, format = (tiny.write_two_images, TwoImages()) if name == "symmpo" else DATA[objective.feedback]
    modality = VisionLanguage(str(vlm_folder("llava")), max_length=256, other_image=VARIANTS.get(name))
    module = module_of(modality, objective)
    trainer = tiny.trainer(
        tmp_path,
        max_steps=3,
        logger=JsonlLogger(str(tmp_path)),
        log_every_n_steps=1,
        gradient_clip_val=0.05,  # the length of a step
    )
    trainer.fit(module, PreferenceDataModule(format, train=str(write(tmp_path, ROWS)), batch_size=ROWS))
    losses = logged_losses(tmp_path)
    assert len(losses) == 3
    assert all(map(math.isfinite, losses))
    assert losses[2] < losses[0]
    if objective.start_loss is not None:
        assert losses[0] == pytest.approx(objective.start_loss, rel=1e-6)
    assert_moved(modality.load(), module.policy)


def logged_losses(folder: Path) -> list[float]:
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [row["loss"] for row in rows if "loss" in row]


def assert_moved(start: torch.nn.Module, policy: torch.nn.Module) -> None:
    """That every weight of the language model moved, and no other."""
    after = dict(policy.named_parameters())
    moved = {name for name, before in start.named_parameters() if not torch.equal(before, after[name])}
    assert moved == {name for name in after if "language_model" in name or name.startswith("lm_head")}


class Divergent(Dpo):
    """Needs what only a diffusion model has."""

    @property
    def needs(self) -> Needs:
        return Needs(extra=frozenset({"divergence"}))


def test_objectives_that_need_more_are_refused_by_name(vlm_folder: MakeFolder, tiny_model: Path) -> None:
    modality = VisionLanguage(str(vlm_folder("llava")))
    with pytest.raises(ConfigError, match="Divergent needs divergence, which the modality 'vision_language' does not"):
        PreferenceModule(modality, Divergent())
    with pytest.raises(ConfigError, match=r"cells of role chosen@elsewhere, which the modality 'vision_language'"):
        PreferenceModule(modality, RdpoVisual(contrast="elsewhere"))
    with pytest.raises(ConfigError, match="Povid needs misled_logps, which the modality 'text' does not"):
        PreferenceModule(Text(str(tiny_model)), Povid())
    with pytest.raises(ConfigError, match="DenseDpo needs more of the reference than one log-probability a response"):
        PreferenceModule(modality, DenseDpo(), CachedReference())


LACKING: dict[str, tuple[Objective, dict[str, Any], str]] = {
    "other image": (RdpoVisual(), {"other_images": None}, "row 1: the row has no other image"),
    "image": (MDpo(), {"images": [], "other_images": None}, "the prompt has no image"),
    "answer to the other image": (SymMpo(), {"other_response": None}, "column 'other_response': no value"),
    "score": (MmDpo(), {"chosen_score": None}, "scores? of"),
    "list": (RankDpo(), {}, "RankDpo learns from ranked lists"),
}


@pytest.mark.parametrize("name", LACKING)
def test_data_that_lacks_what_an_objective_compares_is_refused(
    tmp_path: Path, vlm_folder: MakeFolder, name: str
) -> None:
    objective, change, message = LACKING[name]
    data = tiny.write_pairs(tmp_path, 3)
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    rows[1] |= change
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    module = module_of(VisionLanguage(str(vlm_folder("llava")), max_length=256), objective)
    with pytest.raises(UserError, match=message):
        tiny.trainer(tmp_path, max_steps=1).fit(
            module, PreferenceDataModule(VisionPreference(), train=str(data), batch_size=3)
        )
