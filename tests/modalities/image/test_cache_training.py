"""A run that reads its latents from disk ends with the weights of one that encodes live, bit for bit."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from weakref import ref

import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything

from modalign import PreferenceDataModule, PreferenceModule
from modalign.core.callbacks.drift import DriftLog
from modalign.core.objectives.base import Needs, Objective
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.pointwise import Kto
from modalign.core.schedule import Schedule
from modalign.modalities.diffusion import encoded_modality
from modalign.modalities.image.formats.image_pairs import ImagePairs
from modalign.modalities.image.modality import Image
from tests.modalities.image.pictures import batch_of
from tests.modalities.image.tiny import write_pairs


def trained(
    model: Path,
    root: Path,
    file: Path,
    objective: Objective,
    workers: int = 0,
    streaming: bool = False,
    steps: int = 5,
    callbacks: Sequence[Callback] = (),
    data: Mapping[str, Any] = MappingProxyType({}),
    **options: Any,
) -> dict[str, torch.Tensor]:
    seed_everything(3, verbose=False)
    modality = Image(str(model), flip=True, caption_dropout=0.3, cache_dtype="float32", **options)
    module = PreferenceModule(
        modality, objective, optimizer=lambda p: torch.optim.Adam(p, lr=1e-3), schedule=Schedule("constant")
    )
    rows = PreferenceDataModule(
        ImagePairs(), train=str(file), batch_size=3, workers=workers, streaming=streaming, shuffle=not streaming, **data
    )
    trainer = Trainer(
        max_steps=steps,
        callbacks=list(callbacks),
        accelerator="cpu",
        logger=False,
        default_root_dir=root,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, datamodule=rows)
    assert trainer.global_step == steps
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


def test_a_step_encodes_once_for_policy_and_reference_and_keeps_nothing(
    tmp_path: Path, pipeline_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    media, prompts, steps, original = [], [], [], encoded_modality.encoded_inputs

    def watched(inputs: Mapping[str, Any], *encoders: Callable[[Any], Any]) -> dict[str, Any]:
        media.extend(inputs.get("media", ()))
        prompts.extend(inputs.get("prompts", ()))
        made = original(inputs, *encoders)
        if "media" in inputs:
            assert not any(latents() is not None for latents in steps), "an earlier step's latents are still held"
            steps.append(ref(made["latents"]))
        return made

    monkeypatch.setattr(encoded_modality, "encoded_inputs", watched)
    model, file = pipeline_folder("stable_diffusion"), write_pairs(tmp_path, 6)
    trained(model, tmp_path, file, Dpo(500.0), steps=2, cache="off")
    assert len(steps) == 2
    assert len(media) == 2 * 6
    captions = [prompt for prompt in prompts if prompt]
    assert 0 < len(captions) == len(set(captions))


def test_a_likelihood_of_an_encoded_batch_is_the_same(pipeline_folder: Callable[[str], Path]) -> None:
    modality = Image(str(pipeline_folder("stable_diffusion")), cache="off")
    policy, batch = modality.load(), batch_of(modality)
    once, twice = modality.encode_batch(batch), modality.encode_batch(modality.encode_batch(batch))
    assert "media" in batch.inputs
    for other in (once, twice):
        assert torch.equal(
            modality.likelihood(policy, other, Needs()).logps, modality.likelihood(policy, batch, Needs()).logps
        )


@pytest.mark.parametrize("validation", [True, False])
def test_a_short_run_encodes_what_it_sees_and_a_longer_one_the_rest(
    tmp_path: Path, pipeline_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, validation: bool
) -> None:
    model, file, folder = pipeline_folder("stable_diffusion"), write_pairs(tmp_path, 40), str(tmp_path / "cache")
    encoded, original = [0], encoded_modality.EncodedModality.encode_medium

    def count(self: Image, medium: torch.Tensor) -> Any:
        encoded[0] += 1
        return original(self, medium)

    held_out = tmp_path / "held_out.jsonl"
    held_out.write_text("".join(file.read_text().splitlines(keepends=True)[:2]))
    options = {"validation": str(held_out)} if validation else {}
    live = trained(model, tmp_path, file, Kto(500.0), steps=9, callbacks=[DriftLog(1)], data=options, cache="off")
    monkeypatch.setattr(encoded_modality.EncodedModality, "encode_medium", count)
    run = {"callbacks": [DriftLog(1)], "data": options, "cache_folder": folder}
    trained(model, tmp_path, file, Kto(500.0), steps=4, **run)
    short = encoded[0]
    # 12 rows, each with an image that is another row's, and 3 rows of the probe; one is made twice, for its size.
    assert 2 * (2 * 12) < short <= 2 * (3 * 12 + 3 * 3) + 1
    trained(model, tmp_path, file, Kto(500.0), steps=4, **run)
    assert encoded[0] == short, "something was not encoded ahead"
    assert equal(trained(model, tmp_path, file, Kto(500.0), steps=9, **run), live)
    assert short < encoded[0] < 2 * 2 * 40


def test_a_probe_that_is_not_cached_is_encoded_live(
    tmp_path: Path, pipeline_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, file, folder = pipeline_folder("stable_diffusion"), write_pairs(tmp_path, 40), str(tmp_path / "cache")
    monkeypatch.setattr(PreferenceDataModule, "ask_probe", lambda self, batches: None)
    live, cached = DriftLog(3), DriftLog(3)
    trained(model, tmp_path, file, Dpo(500.0), callbacks=[live], cache="off")
    trained(model, tmp_path, file, Dpo(500.0), callbacks=[cached], cache_folder=folder)
    assert len(cached.state_dict()["start"]) == 9
    assert cached.state_dict() == live.state_dict()


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
