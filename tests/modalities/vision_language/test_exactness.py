"""Training on prompts with images is exact: however a step is split, whoever reads the data, wherever the reference is.

Rows of one image, of two and of none stand in one batch, with answers of very different lengths.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, seed_everything
from torch import Tensor, nn

from modalign import PreferenceDataModule, PreferenceModule
from modalign.core.batch import CHOSEN, OTHER_IMAGE, Likelihood, PreferenceBatch, under
from modalign.core.content import content_hash
from modalign.core.objectives.base import Needs, Objective
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.sft import Sft
from modalign.core.objectives.visual import MDpo, RdpoVisual
from modalign.core.objectives.weighted_sum import WeightedSum
from modalign.core.reference import AdapterReference, CachedReference, FrozenReference, Reference
from modalign.core.schedule import Schedule
from modalign.modalities.lora import Lora
from modalign.modalities.vision_language.formats.vision_preference import VisionPreference
from modalign.modalities.vision_language.modality import VisionLanguage
from modalign.modalities.vision_language.variants.cropped import Cropped
from modalign.modalities.vision_language.variants.swapped import Swapped
from tests.modalities.vision_language import tiny
from tests.two_ranks import on_two_ranks

MakeFolder = Callable[[str], Path]
Weights = dict[str, Tensor]

OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "dpo": lambda: Dpo(0.5),
    "rdpo_visual": lambda: RdpoVisual(0.5),
    "mdpo": lambda: MDpo(0.5),
    "sum": lambda: WeightedSum({"dpo": Dpo(0.5), "sft": Sft(normalization="token")}, {"sft": 0.3}),
}


def exact(folder: Path, **options: Any) -> VisionLanguage:
    """The modality in float64."""
    return VisionLanguage(str(folder), **{"max_length": 256, "dtype": "float64", **options})


def train(
    modality: VisionLanguage,
    data: Path,
    name: str = "dpo",
    batch_size: int = 4,
    accumulate: int = 1,
    devices: int = 1,
    epochs: int = 2,
    reference: Reference | None = None,
    precision: Any = "64-true",
    workers: int = 0,
    callbacks: Sequence[Callback] = (),
) -> Weights:
    """The policy's weights after some epochs."""
    seed_everything(7, verbose=False)
    module = PreferenceModule(
        modality,
        OBJECTIVES[name](),
        reference,
        optimizer=lambda p: torch.optim.SGD(p, lr=0.02),
        schedule=Schedule("constant"),
    )
    trainer = tiny.trainer(
        data.parent,
        max_epochs=epochs,
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        accumulate_grad_batches=accumulate,
        precision=precision,
        gradient_clip_val=1.0,
        callbacks=list(callbacks),
    )
    rows = PreferenceDataModule(VisionPreference(), train=str(data), batch_size=batch_size, workers=workers)
    trainer.fit(module, rows)
    return {key: value.clone() for key, value in module.policy.state_dict().items()}


def assert_close(left: Weights, right: Weights, atol: float) -> None:
    for key in left:
        torch.testing.assert_close(left[key], right[key], rtol=0, atol=atol)


def furthest(left: Weights, right: Weights) -> float:
    return max((left[key] - right[key]).abs().max().item() for key in left)


@pytest.mark.parametrize(("name", "family", "text_only"), [("dpo", "qwen2_5_vl", 3), ("rdpo_visual", "llava", 0)])
def test_micro_batches_and_uneven_ends(
    tmp_path: Path, vlm_folder: MakeFolder, name: str, family: str, text_only: int
) -> None:
    data = tiny.write_pairs(tmp_path, 6, text_only)  # windows of 4 and 2
    modality = exact(vlm_folder(family))
    whole = train(modality, data, name)
    assert furthest(whole, modality.load().state_dict()) > 1e-3
    assert_close(whole, train(modality, data, name, batch_size=2, accumulate=2), atol=1e-9)
    assert_close(whole, train(modality, data, name, batch_size=1, accumulate=4), atol=1e-9)


def test_two_ranks_equal_one(tmp_path: Path, vlm_folder: MakeFolder) -> None:
    """One rank may have rows with images while the other has none."""
    model, data = vlm_folder("llava"), tiny.write_pairs(tmp_path, 5, 2)  # the last global batch leaves a rank idle
    one = train(exact(model), data, "sum")
    for two in on_two_ranks(tmp_path, lambda: train(exact(model), data, "sum", 1, accumulate=2, devices=2)):
        assert_close(one, two, atol=1e-9)


def test_data_workers_change_nothing(tmp_path: Path, vlm_folder: MakeFolder) -> None:
    data, modality = tiny.write_pairs(tmp_path, 5), exact(vlm_folder("llava"), other_image=Cropped())
    assert_close(train(modality, data, "mdpo"), train(modality, data, "mdpo", workers=2), atol=0)


class Watched(VisionLanguage):
    """Counts the rows of likelihoods without gradient, and notes which other images the policy sees in each epoch."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._read_ahead = 0
        self._seen: dict[tuple[int, int], str] = {}

    def likelihood(self, model: nn.Module, batch: PreferenceBatch, needs: Needs) -> Likelihood:
        if torch.is_grad_enabled():
            self._note(batch)
        else:
            self._read_ahead += len(batch)
        return super().likelihood(model, batch, needs)

    def _note(self, batch: PreferenceBatch) -> None:
        elsewhere = batch.cells_of(frozenset({under(CHOSEN, OTHER_IMAGE)})).tolist()
        sets = [number for number, there in zip(batch.inputs["media_of"], elsewhere, strict=True) if there]
        for row, number in zip(batch.index.tolist(), sets, strict=True):
            self._seen[batch.epoch, row] = content_hash(batch.inputs["media"][number])


def test_cached_reference_equals_a_live_one(tmp_path: Path, vlm_folder: MakeFolder) -> None:
    """To the bit in batches of one row; the crop of an image is the same whenever it is made."""
    data, path = tiny.write_pairs(tmp_path, 3), str(tmp_path / "cache.sqlite")
    options: dict[str, Any] = {"name": "mdpo", "batch_size": 1, "precision": "32-true"}

    def watched() -> Watched:
        return Watched(str(vlm_folder("llava")), max_length=256, other_image=Cropped())

    live = train(watched(), data, reference=FrozenReference(), **options)
    first, second = watched(), watched()
    assert_close(live, train(first, data, reference=CachedReference(path), **options), atol=0)
    assert first._read_ahead == 3, "every epoch has the same crops"
    assert_close(live, train(second, data, reference=CachedReference(path), **options), atol=0)
    assert second._read_ahead == 0, "a second run finds all of it"


def test_other_rows_images_are_the_same_in_every_epoch(tmp_path: Path, vlm_folder: MakeFolder) -> None:
    modality = Watched(str(vlm_folder("llava")), max_length=256, other_image=Swapped())
    train(modality, tiny.write_pairs(tmp_path, 6), "rdpo_visual", batch_size=2, epochs=3, precision="32-true")
    orders = [[row for seen, row in modality._seen if seen == epoch] for epoch in range(3)]
    assert len(set(map(tuple, orders))) > 1, "epochs are shuffled"
    for row in range(6):
        assert len({modality._seen[epoch, row] for epoch in range(3)}) == 1
    assert len({modality._seen[0, row] for row in range(6)}) > 1


class Losses(Callback):
    """Of every batch."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.found.append(outputs["loss"].item())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_lora_starts_where_its_reference_is(tmp_path: Path, vlm_folder: MakeFolder, dtype: Any) -> None:
    """To the bit: the policy is the base until its first step, and a copy of it is what it is without its adapter."""
    data = tiny.write_pairs(tmp_path, 5)
    modality = exact(vlm_folder("qwen2_5_vl"), dtype=dtype, lora=Lora(r=2), other_image=Cropped())
    losses, beside = Losses(), Losses()
    options: dict[str, Any] = {"name": "mdpo", "precision": "32-true", "batch_size": 5}
    adapter = train(modality, data, reference=AdapterReference(), callbacks=[losses], **options)
    copied = train(modality, data, reference=FrozenReference(), callbacks=[beside], **options)
    assert losses.found[0] == beside.found[0] == pytest.approx(3 * math.log(2), rel=1e-6)
    assert losses.found[1] < losses.found[0]
    assert_close(adapter, copied, atol=0)


class Counted(VisionLanguage):
    """Counts how often the language model's first layer runs."""

    _forwards = 0

    def load(self, model: str | None = None) -> nn.Module:
        policy: Any = super().load(model)
        policy.get_decoder().layers[0].mlp.register_forward_pre_hook(self.count)  # the last that is computed again
        return policy  # type: ignore[no-any-return]

    def count(self, *_: Any) -> None:
        self._forwards += 1


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl"])
def test_gradient_checkpointing_changes_nothing(tmp_path: Path, vlm_folder: MakeFolder, family: str) -> None:
    data, folder = tiny.write_pairs(tmp_path, 4), str(vlm_folder(family))
    kept = Counted(folder, max_length=256, dtype="float64")
    again = Counted(folder, max_length=256, dtype="float64", gradient_checkpointing=True)
    assert_close(train(kept, data, "rdpo_visual"), train(again, data, "rdpo_visual"), atol=1e-12)
    assert again._forwards > kept._forwards
