"""What Tango's and AudioLDM 2's families encode, predict and decode is what their pipelines do."""

from collections.abc import Callable
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modalign.core.batch import CHOSEN, REJECTED, Candidate, Comparison, PreferenceBatch
from modalign.core.errors import ConfigError
from modalign.core.keys import generator
from modalign.core.objectives.base import Needs
from modalign.core.objectives.pairwise import Dpo
from modalign.modalities.audio.families.mel_latents import MelFamily
from modalign.modalities.audio.modality import Audio
from modalign.modalities.diffusion.loading import PipelineSource, pipeline_class
from modalign.modalities.diffusion.sampling import pipeline_around
from tests.modalities.image.pictures import disturb
from tests.sounds import media, sequence

MakeAudio = Callable[..., Audio]
NAMES = ("mel.tango", "mel.tango_bare", "mel.audioldm2")
PROMPTS = ("a red circle", "two dogs in the dark house")


def comparison(prompt: str, seed: int) -> Comparison:
    first, second = "a low tone", "noise"
    pair = (sequence([first, second], 0.2, seed=seed), sequence([second, first], 0.2, seed=seed))
    return Comparison(prompt, (Candidate(media(pair[0]), CHOSEN), Candidate(media(pair[1]), REJECTED)))


def batch_of(modality: Audio, epoch: int = 0) -> PreferenceBatch:
    """Two pairs whose prompts have unequal numbers of tokens."""
    examples = [modality.encode(comparison(prompt, row)) for row, prompt in enumerate(PROMPTS)]
    return modality.collate(examples, [3, 8], epoch)


def family_of(modality: Audio) -> MelFamily:
    assert isinstance(modality.family, MelFamily)
    return modality.family


def plain(folder: Path) -> Any:
    """The pipeline as its own class loads it."""
    pipeline = pipeline_class(PipelineSource(str(folder))).from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize("name", NAMES)
def test_latents_are_the_vaes_of_the_spectrogram(
    audio: MakeAudio, audio_folder: Callable[[str], Path], name: str
) -> None:
    modality = audio(name)
    family, geometry = family_of(modality), modality.geometry
    pipeline, samples = plain(audio_folder(name)), geometry.samples(modality.seconds)
    waveforms = 0.3 * torch.randn(2, 1, samples, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mean, std = family.encode_clean(waveforms)
        spectrogram = family.mel.spectrogram(waveforms[:, 0])[:, None]
        if pipeline.vae is None:
            assert torch.equal(mean, spectrogram)
            assert not std.any()
        else:
            posterior = pipeline.vae.encode(spectrogram).latent_dist
            assert torch.equal(mean, posterior.mean * 0.9)
            assert torch.equal(std, posterior.std * 0.9)
    frames = geometry.frames(modality.seconds)
    assert mean.shape == (2, pipeline.unet.config.in_channels, frames, geometry.numbers // mean.shape[1])
    assert mean[0].numel() == geometry.latents(modality.seconds)


@pytest.mark.parametrize(("name", "guidance"), [*((name, 2.5) for name in NAMES), ("mel.tango", 1.0)])
def test_clips_are_the_plain_pipelines(
    audio: MakeAudio, audio_folder: Callable[[str], Path], name: str, guidance: float
) -> None:
    modality = audio(name)
    pipeline, policy = plain(audio_folder(name)), modality.load()
    negative = "" if guidance == 1 else "a cat"
    clips = modality.sample(
        policy, list(PROMPTS), seed=7, steps=2, guidance_scale=guidance, negative_prompt=negative, seconds=0.2
    )
    for prompt, made in zip(PROMPTS, clips, strict=True):
        expected = pipeline(
            prompt,
            audio_length_in_s=0.2,
            num_inference_steps=2,
            guidance_scale=guidance,
            negative_prompt=negative,
            generator=generator(7, "sample", prompt, 0),
        ).audios[0]
        assert made[0].samples.shape == (1, round(0.2 * modality.geometry.rate))
        torch.testing.assert_close(made[0].samples[0], torch.from_numpy(expected), rtol=1e-3, atol=1e-4)
        assert expected.std() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_of_another_precision_than_the_encoders_makes_sound(audio: MakeAudio, name: str) -> None:
    modality = audio(name, dtype="bfloat16")
    (clip,) = modality.sample(modality.load(), ["a cat"], steps=2)[0]
    exact = audio(name)
    (other,) = exact.sample(exact.load(), ["a cat"], steps=2)[0]
    assert clip.samples.isfinite().all()
    assert 0 < (clip.samples - other.samples).abs().mean() < 0.2


@pytest.mark.parametrize("name", NAMES)
def test_the_first_loss_is_ln_2_and_caches_change_nothing(audio: MakeAudio, name: str, tmp_path: Path) -> None:
    live = audio(name)
    policy, batch = live.load(), batch_of(live)
    expected = live.likelihood(policy, batch, Needs())
    assert Dpo(beta=1000)(expected, expected, batch).loss(batch).item() == pytest.approx(log(2), abs=1e-6)

    kept = audio(name, cache="disk", cache_folder=str(tmp_path))
    kept.prepare([comparison(prompt, row) for row, prompt in enumerate(PROMPTS)], torch.device("cpu"))
    cached = batch_of(kept)
    assert "prompts" not in cached.inputs
    assert "media" not in cached.inputs
    assert torch.equal(kept.likelihood(policy, cached, Needs()).logps, expected.logps)


@pytest.mark.parametrize("name", NAMES)
def test_members_of_a_row_lose_their_caption_together(audio: MakeAudio, name: str) -> None:
    modality = audio(name, caption_dropout=0.5)
    dropped = set()
    for epoch in range(12):
        inputs = batch_of(modality, epoch).inputs
        prompts = [inputs["prompts"][place] for place in inputs["prompt_index"].tolist()]
        rows = [tuple(prompts[start : start + 2]) for start in (0, 2)]
        assert all(first == second for first, second in rows)
        dropped.add(tuple(first == "" for first, _ in rows))
    assert len(dropped) > 2


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(more=st.integers(1, 9), seed=st.integers(0, 99))
@pytest.mark.parametrize("name", ["mel.tango", "mel.audioldm2"])
def test_padding_changes_nothing(audio_folder: Callable[[str], Path], name: str, more: int, seed: int) -> None:
    modality = loaded(str(audio_folder(name)))
    family, policy = family_of(modality), modality_policy(str(audio_folder(name)))
    source = torch.Generator().manual_seed(seed)
    noisy = torch.randn(1, 4, 8, 4 if name == "mel.tango" else 2, generator=source, dtype=torch.float64)
    with torch.no_grad():
        text = family.encode_prompts(PROMPTS[:1])
        expected = family.predict(policy, noisy, torch.tensor([9]), text, None)
        padded = dict(text)
        for key in ("prompt_embeds", "attention_mask"):
            padded[key] = torch.cat([text[key], text[key].new_zeros(1, more, *text[key].shape[2:])], 1)
        found = family.predict(policy, noisy, torch.tensor([9]), padded, None)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
        # Without the mask, the same zeros would be attended to.
        seen = family.predict(
            policy,
            noisy,
            torch.tensor([9]),
            {**padded, "attention_mask": torch.ones_like(padded["attention_mask"])},
            None,
        )
    assert (seen - expected).abs().max() > 1e-6


_LOADED: dict[str, tuple[Audio, Any]] = {}


def loaded(folder: str) -> Audio:
    """One float64 modality a folder, for many examples."""
    if folder not in _LOADED:
        modality = Audio(folder, cache="off", dtype="float64", encoder_dtype="float64")
        _LOADED[folder] = modality, modality.load().eval()
    return _LOADED[folder][0]


def modality_policy(folder: str) -> Any:
    loaded(folder)
    return _LOADED[folder][1]


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_prompts_equals_each_alone(audio_folder: Callable[[str], Path], name: str) -> None:
    modality = loaded(str(audio_folder(name)))
    policy = modality_policy(str(audio_folder(name)))
    together = modality.likelihood(policy, batch_of(modality), Needs()).logps
    for row, prompt in enumerate(PROMPTS):
        alone = modality.collate([modality.encode(comparison(prompt, row))], [(3, 8)[row]])
        torch.testing.assert_close(modality.likelihood(policy, alone, Needs()).logps[0], together[row])


@pytest.mark.parametrize("name", NAMES)
def test_adapters_train(audio: MakeAudio, name: str) -> None:
    from modalign.modalities.lora import Lora

    modality, whole = audio(name, lora=Lora(r=2), gradient_checkpointing=True), audio(name)
    policy: Any = modality.load()
    logps = modality.likelihood(policy, batch_of(modality), Needs()).logps
    torch.testing.assert_close(logps, whole.likelihood(whole.load(), batch_of(whole), Needs()).logps)
    logps.sum().backward()
    moved = [name for name, values in policy.named_parameters() if values.grad is not None and values.grad.any()]
    assert moved
    assert all("lora_B" in name for name in moved)
    disturb(policy)
    assert modality.sample(policy, ["a cat"], steps=2)[0][0].samples.isfinite().all()


@pytest.mark.parametrize("name", NAMES[:2])  # AudioLDM 2's latent frames are longer than its transform's padding
def test_too_short_a_window_is_refused(audio: MakeAudio, name: str) -> None:
    with pytest.raises(ConfigError, match=r"modality.seconds is 0.0001, and this model takes at least 0.0"):
        _ = audio(name, seconds=0.0001).seconds


@pytest.mark.parametrize("name", ["mel.tango", "mel.audioldm2"])
def test_decoded_latents_are_the_pipelines_waveform(
    audio: MakeAudio, audio_folder: Callable[[str], Path], name: str
) -> None:
    modality = audio(name)
    family, pipeline = family_of(modality), plain(audio_folder(name))
    call = {"audio_length_in_s": 0.256, "num_inference_steps": 2, "guidance_scale": 1.0}
    latents, expected = (
        pipeline("a cat", **call, generator=torch.Generator().manual_seed(1), output_type=kind).audios
        for kind in ("latent", "pt")
    )
    with torch.no_grad():
        found = family.decode(latents)
    frames = latents.shape[2]
    assert found.shape == (1, 1, frames * modality.geometry.hop)
    torch.testing.assert_close(found[:, 0, : expected.shape[1]], expected, rtol=1e-4, atol=1e-4)
    rebuilt = pipeline_around(family, modality.load())
    assert type(rebuilt).__name__ == type(pipeline).__name__
