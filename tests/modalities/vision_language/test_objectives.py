"""Objectives that compare images, on a real model: from rows and an image variant to gradients."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modalign.core.batch import CHOSEN, REJECTED, Comparison, PreferenceBatch
from modalign.core.dataset import ComparisonDataset
from modalign.core.errors import ConfigError
from modalign.core.extra_cells import add_cells
from modalign.core.objectives.base import Needs, Objective
from modalign.core.objectives.dense import DenseDpo
from modalign.core.objectives.distracted import Povid
from modalign.core.objectives.guided import VDpo
from modalign.core.objectives.length import LcDpo
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.symmetric import SymMpo
from modalign.core.objectives.visual import MDpo, RdpoVisual
from modalign.core.objectives.weighted_sum import WeightedSum
from modalign.core.sources import open_rows
from modalign.modalities.vision_language.formats.vision_preference import VisionPreference
from modalign.modalities.vision_language.modality import VisionLanguage
from modalign.modalities.vision_language.prompts import images_of
from modalign.modalities.vision_language.variants.base import ImageVariant
from modalign.modalities.vision_language.variants.black import Black
from modalign.modalities.vision_language.variants.cropped import Cropped
from modalign.modalities.vision_language.variants.noised import Noised
from modalign.modalities.vision_language.variants.retrieved import Retrieved
from modalign.modalities.vision_language.variants.swapped import Swapped
from tests.modalities.vision_language.scenes import media, pair, written

VARIANTS: list[ImageVariant] = [Retrieved(), Cropped(), Noised(), Black(), Swapped()]
OBJECTIVES: list[Objective] = [
    RdpoVisual(),
    MDpo(),
    SymMpo(),
    VDpo(unguided="policy"),
    Povid(),
    DenseDpo(),
    LcDpo(alpha=0.0),
    WeightedSum({"mdpo": MDpo(), "vdpo": VDpo(), "povid": Povid(), "dense": DenseDpo()}),
]


@pytest.fixture(scope="module")
def build(vlm_folder: Callable[[str], Path]) -> Callable[..., VisionLanguage]:
    def build(other_image: ImageVariant | None = None) -> VisionLanguage:
        return VisionLanguage(str(vlm_folder("llava")), max_length=256, other_image=other_image)

    return build


def rows(*others: int) -> list[Comparison]:
    """Two rows, each with another image and an answer to it."""
    marks = {CHOSEN: [[4, 11]], REJECTED: []}
    return [
        pair(
            [media(seed)],
            text=text,
            extra={"other_images": (media(other),), "other_response": "a green triangle", "corrected": marks},
        )
        for seed, other, text in zip((1, 2), others, ("What is in the image?", "Which shape?"), strict=True)
    ]


def batch_of(modality: VisionLanguage, objective: Objective, comparisons: list[Comparison]) -> PreferenceBatch:
    whole = [
        add_cells(row, objective.extra_roles, modality, other)
        for row, other in zip(comparisons, reversed(comparisons), strict=True)
    ]
    return modality.collate([modality.encode(row) for row in whole], range(len(whole)))


def gradient(
    modality: VisionLanguage, objective: Objective, comparisons: list[Comparison], model: torch.nn.Module, moved: Any
) -> torch.Tensor:
    """Of all that is trained, the reference being the model that `moved` is."""
    batch = batch_of(modality, objective, comparisons)
    with torch.no_grad():
        reference = modality.likelihood(moved, batch, objective.needs)
    model.zero_grad()
    objective(modality.likelihood(model, batch, objective.needs), reference, batch).loss(batch).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.fixture(scope="module")
def models(build: Callable[..., VisionLanguage]) -> tuple[torch.nn.Module, torch.nn.Module]:
    """A policy, and a reference that is not equal to it."""
    policy, reference = (build().load().eval() for _ in range(2))
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.mul_(1.05)
    return policy, reference


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: type(objective).__name__)
def test_each_objective_trains(build: Callable[..., VisionLanguage], models: Any, objective: Objective) -> None:
    modality = build(Noised(700))
    found = gradient(modality, objective, rows(3, 4), *models)
    assert found.isfinite().all()
    assert found.abs().max() > 0
    batch = batch_of(modality, objective, rows(3, 4))
    with torch.no_grad():
        same = modality.likelihood(models[0], batch, objective.needs)
        if objective.start_loss is not None:
            assert float(objective(same, same, batch).loss(batch)) == pytest.approx(objective.start_loss, rel=1e-5)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_each_variant_is_another_image(
    build: Callable[..., VisionLanguage], models: Any, variant: ImageVariant
) -> None:
    modality = build(variant)
    assert modality.needs_other_row(RdpoVisual().extra_roles) == (variant.name == "swapped")
    batch = batch_of(modality, RdpoVisual(), rows(3, 4))
    with torch.no_grad():
        likelihood = modality.likelihood(models[0], batch, Needs())
    here, there = (likelihood.logps[:, batch.column(role)] for role in (CHOSEN, "chosen@other_image"))
    assert (here - there).abs().min() > 1e-4


def test_rows_of_data_swap_images_with_rows_of_another_image(
    build: Callable[..., VisionLanguage], tmp_path: Path
) -> None:
    picture = {seed: written(tmp_path, seed).path for seed in (1, 2)}
    asked = [(1, "What is it?"), (1, "Which shape?"), (2, "What is it?"), (2, "How many?")]
    rows = [{"prompt": text, "image": picture[seed], "chosen": "a circle", "rejected": "no"} for seed, text in asked]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source, roles = open_rows(tmp_path / "rows.jsonl"), RdpoVisual().extra_roles
    dataset = ComparisonDataset([source], VisionPreference(), build(Swapped()), extra_roles=roles)
    contexts = [dataset.comparison(number).candidate("chosen@other_image").context for number in range(4)]
    assert [images_of(context)[0].path for context in contexts] == [picture[seed] for seed in (2, 2, 1, 1)]
    assert len(set(dataset.prompt_keys)) == 4
    with pytest.raises(ConfigError, match="have the same"):
        ComparisonDataset([source], VisionPreference(), build(Swapped()), extra_roles=roles, max_rows=2)


def test_the_pair_of_images_has_no_gradient_where_they_are_the_same(
    build: Callable[..., VisionLanguage], models: Any
) -> None:
    modality = build()
    plain = gradient(modality, Dpo(), rows(1, 2), *models)
    same = gradient(modality, RdpoVisual(), rows(1, 2), *models)
    torch.testing.assert_close(same, plain, rtol=1e-4, atol=1e-6 * float(plain.abs().max()))
    other = gradient(modality, RdpoVisual(), rows(3, 4), *models)
    assert float((other - plain).abs().max() / plain.abs().max()) > 1e-2


def test_parts_of_a_sum_do_not_take_each_others_gradients(build: Callable[..., VisionLanguage], models: Any) -> None:
    """V-DPO and POVID ask for cells without gradient that mDPO learns from."""
    modality = build()
    parts: dict[str, Objective] = {"mdpo": MDpo(), "vdpo": VDpo(), "povid": Povid()}
    whole = WeightedSum(parts, {"vdpo": 0.5})
    assert whole.needs.no_grad_roles == {"rejected@other_image"}
    together = gradient(modality, whole, rows(3, 4), *models)
    apart = [gradient(modality, part, rows(3, 4), *models) for part in parts.values()]
    expected = apart[0] + 0.5 * apart[1] + apart[2]
    torch.testing.assert_close(together, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))
