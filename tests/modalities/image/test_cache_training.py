"""A run that reads its latents from disk ends with the weights of one that encodes live, bit for bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything

from modalign import PreferenceDataModule, PreferenceModule
from modalign.core.objectives.base import Objective
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.pointwise import Kto
from modalign.core.schedule import Schedule
from modalign.modalities.diffusion import encoded_modality
from modalign.modalities.image.formats.image_pairs import ImagePairs
from modalign.modalities.image.modality import Image
from tests.modalities.image.tiny import write_pairs


def trained(
    model: Path, root: Path, file: Path, objective: Objective, workers: int = 0, streaming: bool = False, **options: Any
) -> dict[str, torch.Tensor]:
    seed_everything(3, verbose=False)
    modality = Image(str(model), flip=True, caption_dropout=0.3, cache_dtype="float32", **options)
    module = PreferenceModule(
        modality, objective, optimizer=lambda p: torch.optim.Adam(p, lr=1e-3), schedule=Schedule("constant")
    )
    data = PreferenceDataModule(
        ImagePairs(), train=str(file), batch_size=3, workers=workers, streaming=streaming, shuffle=not streaming
    )
    trainer = Trainer(
        max_steps=5,
        accelerator="cpu",
        logger=False,
        default_root_dir=root,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, datamodule=data)
    assert trainer.global_step == 5
    return {name: values.clone() for name, values in module.policy.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("objective", [lambda: Dpo(500.0), lambda: Kto(500.0)], ids=["dpo", "kto"])
def test_disk_equals_live(
    tmp_path: Path, pipeline_folder: Callable[[str], Path], objective: Callable[[], Objective]
) -> None:
    model, file = pipeline_folder("stable_diffusion"), write_pairs(tmp_path, 7)
    live = trained(model, tmp_path, file, objective(), cache="off")
    folder = str(tmp_path / "cache")
    assert equal(trained(model, tmp_path, file, objective(), cache_folder=folder), live)
    assert equal(trained(model, tmp_path, file, objective(), cache_folder=folder, workers=2), live)
    loaded = dict(Image(str(model)).load().state_dict())
    assert not equal(loaded, live)


def test_cached_media_and_prompts_are_not_encoded_again(
    tmp_path: Path, pipeline_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, file, folder = pipeline_folder("stable_diffusion"), write_pairs(tmp_path, 7), str(tmp_path / "cache")
    first = trained(model, tmp_path, file, Dpo(500.0), cache_folder=folder)

    def refuse(*given: Any) -> Any:
        raise AssertionError("encoded again")

    monkeypatch.setattr(encoded_modality.EncodedModality, "encode_medium", refuse)
    monkeypatch.setattr(encoded_modality.EncodedModality, "encode_prompt", refuse)
    monkeypatch.setattr(Image, "decode", refuse)
    assert equal(trained(model, tmp_path, file, Dpo(500.0), cache_folder=folder), first)


def test_a_stream_uses_what_is_cached_and_encodes_the_rest(
    tmp_path: Path, pipeline_folder: Callable[[str], Path]
) -> None:
    model, file, folder = pipeline_folder("stable_diffusion"), write_pairs(tmp_path, 9), str(tmp_path / "cache")
    live = trained(model, tmp_path, file, Dpo(500.0), streaming=True, cache="off")
    assert equal(trained(model, tmp_path, file, Dpo(500.0), streaming=True, cache_folder=folder), live)
    some = tmp_path / "some.jsonl"
    some.write_text("".join(file.read_text().splitlines(keepends=True)[2:5]))
    trained(model, tmp_path, some, Dpo(500.0), cache_folder=folder)
    assert equal(trained(model, tmp_path, file, Dpo(500.0), streaming=True, cache_folder=folder), live)
