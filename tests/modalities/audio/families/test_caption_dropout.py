"""With a caption and without it, training feeds every family's denoiser what its pipeline feeds it under guidance."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from modalign.modalities.audio.modality import Audio
from modalign.modalities.diffusion.collation import text_of
from tests.modalities.audio.families.test_mel_latents import PROMPTS, batch_of, plain
from tests.modalities.audio.families.test_waveform_latents import DURATION, UNTOLD, seconds_of
from tests.modalities.image.families.test_conditioning import StopError
from tests.modalities.image.pictures import disturb

ROWS = (3, 8)  # the numbers of `batch_of`'s rows
MEL = ("mel.tango", "mel.tango_bare", "mel.audioldm2")
WAVEFORM = ("stable_audio", "stable_audio_3", "longcat_audio", "ace_step", "tangoflux", "tangoflux_mel")
UNCONDITIONAL_LAST = ("waveform.longcat_audio", "waveform.ace_step")


@dataclass(frozen=True)
class Seen:
    """A row of what a denoiser was given, and its answer."""

    given: dict[str, Tensor]
    answer: Tensor

    @property
    def noisy(self) -> Tensor:
        return self.given["sample"] if "sample" in self.given else self.given["hidden_states"]

    def conditioning(self) -> dict[str, Tensor]:
        """What it was told, without the padding that it did not see."""
        told = {name: values for name, values in self.given.items() if "encoder" in name or "pool" in name}
        told |= {name: values for name, values in self.given.items() if name.startswith("global")}
        for name in ("encoder_attention_mask", "encoder_attention_mask_1", "attention_mask"):
            mask, states = self.given.get(name), name.replace("attention_mask", "hidden_states")
            states = "encoder_hidden_states" if name == "attention_mask" else states
            if mask is not None and (mask.dim() > 1 or name != "attention_mask"):
                tokens = told[states].shape[0]
                told[states] = told[states][mask.flatten()[:tokens].bool()]
                told.pop(name, None)
        return told


def rows_seen(denoiser: Any, call: Callable[[], object], count: int = 1) -> list[Seen]:
    """What a denoiser is given and answers, row by row, in the order of its calls, which end after so many rows."""
    names, seen = ("sample", "timestep", "encoder_hidden_states"), list[Seen]()

    def keep(module: object, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        given = {**dict(zip(names, args, strict=False)), **kwargs, **(kwargs.get("joint_attention_kwargs") or {})}
        answer = output[0] if isinstance(output, tuple) else output.sample
        for row in range(len(answer)):
            own = {name: values for name, values in given.items() if isinstance(values, Tensor)}
            seen.append(Seen({name: _row(values, row, len(answer)) for name, values in own.items()}, answer[row]))
        if len(seen) >= count:
            raise StopError

    handle = denoiser.register_forward_hook(keep, with_kwargs=True)
    try:
        with torch.no_grad(), suppress(StopError):
            call()
    finally:
        handle.remove()
    return seen


def _row(values: Tensor, row: int, rows: int) -> Tensor:
    return values[row] if values.dim() and len(values) == rows else values


def guided(pipeline: Any, prompt: str, seconds: float, length: str = "audio_length_in_s") -> list[Seen]:
    """The first step of sampling: with the caption and without it, in the pipeline's order."""
    denoiser = pipeline.unet if hasattr(pipeline, "unet") else pipeline.transformer
    call = {"num_inference_steps": 2, "guidance_scale": 2.0, length: seconds}
    return rows_seen(denoiser, lambda: pipeline(prompt, **call), 2)


def text_in_training(modality: Audio, dropped: tuple[bool, ...]) -> dict[str, Tensor]:
    """The conditioning of two rows' pairs in an epoch that drops these rows' captions."""
    epochs = (epoch for epoch in count() if tuple(modality.choices(epoch, row).dropped for row in ROWS) == dropped)
    inputs = modality.encode_batch(batch_of(modality, next(epochs))).inputs
    return text_of(inputs, modality.family.unconditional)


@pytest.mark.parametrize("name", [*MEL, *(f"waveform.{name}" for name in WAVEFORM)])
def test_training_feeds_what_guidance_feeds(
    audio: Callable[..., Audio], audio_folder: Callable[[str], Path], name: str
) -> None:
    """Its length, its padding and mask, and what the network makes of it; for a sound that ends before its window."""
    short = name.split(".")[1]
    window = {} if name in MEL else {"seconds": seconds_of(short)}
    modality = audio(name, caption_dropout=0.5, cache_dtype="float32", **window)
    end = 0.1 if name not in MEL and short not in UNTOLD else modality.seconds
    family, pipeline = modality.family, plain(audio_folder(name))
    policy = getattr(pipeline, family.denoiser_part)
    disturb(policy, 0.2)
    length = "audio_length_in_s" if name in MEL else DURATION.get(short, "duration")
    expected = [guided(pipeline, prompt, end, length) for prompt in PROMPTS]
    for dropped in ((False, True), (True, False)):
        text = text_in_training(modality, dropped)
        for row, out in enumerate(dropped):
            kept, left_out = expected[row] if name in UNCONDITIONAL_LAST else reversed(expected[row])
            wanted, other = (left_out, kept) if out else (kept, left_out)
            given, numbers = wanted.noisy[None], torch.tensor([[0.0, end]])
            own = {key: values[2 * row + 1][None] for key, values in text.items()}
            time = wanted.given["timestep"].reshape(1)
            (found,) = rows_seen(policy, lambda: family.predict(policy, given, time, own, numbers))  # noqa: B023
            torch.testing.assert_close(found.answer, wanted.answer, rtol=1e-4, atol=1e-5)
            assert (wanted.answer - other.answer).abs().max() > 1e-3
            ours, theirs = found.conditioning(), wanted.conditioning()
            assert ours.keys() == theirs.keys()
            for key, values in theirs.items():
                torch.testing.assert_close(ours[key].to(values.dtype), values, rtol=1e-5, atol=1e-6, msg=key)
