"""What families over latents of waveforms encode, predict and decode is what their pipelines do."""

from collections.abc import Callable
from functools import cache
from math import log
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from modalign.core.errors import ConfigError, UserError
from modalign.core.keys import generator
from modalign.core.objectives.base import Needs
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.sft import Sft
from modalign.core.objectives.weighted_sum import WeightedSum
from modalign.modalities.audio.families.base import AudioFamily, SamplingRequest
from modalign.modalities.audio.families.longcat_audio import LongCatAudio
from modalign.modalities.audio.modality import Audio
from modalign.modalities.lora import Lora
from tests.modalities.audio.families.test_mel_latents import PROMPTS, batch_of, comparison, plain
from tests.modalities.image.families.test_conditioning import fed, tensors
from tests.modalities.image.pictures import disturb
from tests.tiny_audio.waveform import RATE, SLOW_RATE

MakeAudio = Callable[..., Audio]
Folder = Callable[[str], Path]
NAMES = ("stable_audio", "stable_audio_3", "longcat_audio", "ace_step", "tangoflux", "tangoflux_mel")
WORDS = ["a", "red", "circle", "two", "dogs", "in", "the", "dark", "house", "with", "nine", "small", "black", "trees"]
DURATION = {"stable_audio": "audio_end_in_s", "longcat_audio": "audio_duration_s", "ace_step": "audio_duration"}
UNTOLD = ("longcat_audio", "ace_step")  # when a sound ends
ROWS = ("longcat_audio", "ace_step", "tangoflux", "tangoflux_mel")  # of latents, rather than channels


def seconds_of(name: str, samples: int = 1024) -> float:
    """How long a sound lasts; without `samples`, the tiny models' window: 16 frames of 64 samples."""
    return samples / (SLOW_RATE if name == "ace_step" else RATE)


def made(audio: MakeAudio, name: str, **options: Any) -> Audio:
    return audio(f"waveform.{name}", seconds=seconds_of(name), **options)


def family_of(modality: Audio) -> AudioFamily:
    assert isinstance(modality.family, AudioFamily)
    return modality.family


def told(count: int, end: float = 0.128) -> Tensor:
    """From when to when there is sound."""
    return torch.tensor([[0.0, end]] * count)


def fed_to(denoiser: Any, call: Callable[[], object]) -> dict[str, Tensor]:
    """The tensors that a denoiser is given, by the names of its parameters."""
    given = tensors(fed(denoiser, call))
    return {"hidden_states" if key == "sample" else key: value for key, value in given.items()}


@pytest.mark.parametrize("name", NAMES)
def test_latents_are_the_autoencoders(audio: MakeAudio, audio_folder: Folder, name: str) -> None:
    modality = made(audio, name)
    family, geometry, pipeline = family_of(modality), modality.geometry, plain(audio_folder(f"waveform.{name}"))
    source = torch.Generator().manual_seed(0)
    waveforms = 0.3 * torch.randn(2, geometry.channels, 1024, generator=source)
    with torch.no_grad():
        mean, std = family.encode_clean(waveforms)
        sound = family.decode(mean)
        if name == "tangoflux_mel":
            assert torch.equal(mean, pipeline.front_end.spectrogram(waveforms[:, 0]))
        elif name == "stable_audio_3":
            assert torch.equal(mean, pipeline.vae.encode(waveforms).latents)
            assert torch.equal(sound, pipeline.vae.decode(mean).sample)
        elif name == "longcat_audio":
            drawn = pipeline.vae.encode(waveforms, generator=torch.Generator().manual_seed(1)).latents
            noise = torch.randn(drawn.shape, generator=torch.Generator().manual_seed(1))
            ours = mean + std * noise.transpose(1, 2)
            torch.testing.assert_close(ours.transpose(1, 2), drawn, rtol=1e-5, atol=1e-5)
            assert torch.equal(sound, pipeline.vae.decode(mean.transpose(1, 2)).sample)
        else:
            posterior = pipeline.vae.encode(waveforms).latent_dist
            assert torch.equal(mean.transpose(1, 2) if name in ROWS else mean, posterior.mean)
            assert torch.equal(std.transpose(1, 2) if name in ROWS else std, posterior.std)
            assert torch.equal(sound, pipeline.vae.decode(posterior.mean).sample)
    assert std.any() == (name not in ("stable_audio_3", "tangoflux_mel"))
    assert mean[0].numel() == geometry.latents(seconds_of(name)) == 128
    assert sound.shape == waveforms.shape


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_clips_are_the_plain_pipelines(audio: MakeAudio, audio_folder: Folder, name: str, guidance: float) -> None:
    """Each prompt by itself, and shorter than the window."""
    modality, seconds = made(audio, name), seconds_of(name, 800)
    pipeline, policy = plain(audio_folder(f"waveform.{name}")), modality.load()
    clips = modality.sample(policy, list(PROMPTS), seed=7, steps=2, guidance_scale=guidance, seconds=seconds)
    asked = 13 * 64 / 8000 if name == "longcat_audio" else seconds  # whose pipeline would round down to 12 latents
    output = {"output_type": "pt"} if name == "longcat_audio" else {}
    for prompt, (clip,) in zip(PROMPTS, clips, strict=True):
        (expected,) = pipeline(
            [prompt],
            num_inference_steps=2,
            guidance_scale=guidance,
            generator=[generator(7, "sample", prompt, 0)],
            **{DURATION.get(name, "duration"): asked},
            **output,
        ).audios
        assert clip.samples.shape == (modality.geometry.channels, 800)
        assert clip.rate == 800 / seconds
        scale = max(1.0, expected.abs().max().item())
        torch.testing.assert_close(clip.samples / scale, expected[:, :800] / scale, rtol=1e-3, atol=1e-4)
        assert expected.std() > 1e-3


@pytest.mark.parametrize(
    ("name", "dtypes"),
    [
        *((name, dtypes) for name in NAMES for dtypes in (("bfloat16", "float32"), ("float32", "bfloat16"))),
        ("stable_audio", ("float32", "float16")),  # its VAE stays in float32
    ],
)
def test_a_policy_of_another_precision_than_the_encoders_makes_sound(
    audio: MakeAudio, name: str, dtypes: tuple[str, str]
) -> None:
    clips = []
    for dtype, encoder_dtype in (dtypes, ("float32", "float32")):
        modality = made(audio, name, dtype=dtype, encoder_dtype=encoder_dtype)
        policy = modality.load()
        clips.append(modality.sample(policy, ["a cat"], steps=2, guidance_scale=2.5)[0][0].samples)
        assert not policy._forward_pre_hooks
    rounded, exact = clips
    assert 0 < (rounded - exact).abs().mean() < 0.2 * exact.abs().mean()


def test_longcat_samples_the_window_of_training() -> None:
    """Its published numbers: 7 frames, as seconds and back, are a little more than 7 in floats."""

    class Pipeline(SimpleNamespace):
        def __call__(self, prompts: list[str], audio_duration_s: float, **options: Any) -> Any:
            self.frames = int(audio_duration_s * self.sample_rate // self.vae_scale_factor)
            return SimpleNamespace(audios=torch.zeros(len(prompts), 1, self.frames * self.vae_scale_factor))

    def tokenizer(prompt: str) -> Any:
        return SimpleNamespace(input_ids=prompt.split())

    family, source = LongCatAudio.__new__(LongCatAudio), torch.Generator()
    pipeline = Pipeline(sample_rate=24000, vae_scale_factor=2048, tokenizer=tokenizer)
    for frames in (7, 14, 117):
        request = SamplingRequest(["a cat"], "", frames * 2048 / 24000, None, None, [source])
        assert family.call(pipeline, request).shape == (1, 1, frames * 2048)
        assert pipeline.frames == frames


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ace_step"])
def test_a_negative_prompt_counts(audio: MakeAudio, name: str) -> None:
    modality = made(audio, name)
    policy, options = modality.load(), {"seed": 7, "steps": 2, "guidance_scale": 3.0}
    disturb(policy, 0.3)
    without = modality.sample(policy, [PROMPTS[0]], **options)[0][0].samples
    against = modality.sample(policy, [PROMPTS[0]], negative_prompt="two dogs", **options)[0][0].samples
    assert (without - against).abs().max() > 1e-6
    with pytest.raises(UserError, match="without guidance"):
        modality.sample(policy, [PROMPTS[0]], negative_prompt="two dogs", guidance_scale=1.0)


@pytest.fixture(scope="module")
def disturbed(audio_folder: Folder) -> Callable[[str], tuple[AudioFamily, Any]]:
    """A family and a policy that has moved, loaded once."""

    @cache
    def load(name: str) -> tuple[AudioFamily, Any]:
        modality = Audio(str(audio_folder(f"waveform.{name}")), seconds=seconds_of(name), cache="off")
        policy = modality.load().eval()
        disturb(policy, 0.1)
        return family_of(modality), policy

    return load


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("name", NAMES)
def test_a_prediction_does_not_depend_on_the_other_prompts(
    disturbed: Callable[[str], tuple[AudioFamily, Any]], name: str, data: st.DataObject
) -> None:
    """Not on their number, their lengths, nor on what shorter ones are filled up with."""
    family, policy = disturbed(name)
    counts = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=3))
    prompts = [" ".join(WORDS[:count]) for count in counts]
    source = torch.Generator().manual_seed(len(prompts))
    shape = (16, 8) if name in ROWS else (8, 16)
    noisy = torch.randn(len(prompts), *shape, generator=source)
    time = torch.full((len(prompts),), 0.4)
    with torch.no_grad():
        together = family.predict(policy, noisy, time, family.encode_prompts(prompts), told(len(prompts)))
        for row, prompt in enumerate(prompts):
            text = family.encode_prompts([prompt])
            alone = family.predict(policy, noisy[row : row + 1], time[:1], text, told(1))[0]
            torch.testing.assert_close(together[row], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_told_counts(disturbed: Callable[[str], tuple[AudioFamily, Any]], name: str) -> None:
    """Prompts, times and, where a model has such, seconds."""
    family, policy = disturbed(name)
    noisy = torch.randn(1, *((16, 8) if name in ROWS else (8, 16)), generator=torch.Generator())
    with torch.no_grad():
        text, other = family.encode_prompts(["a red circle"]), family.encode_prompts(["dogs"])
        base = family.predict(policy, noisy, torch.tensor([0.4]), text, told(1))
        later = family.predict(policy, noisy, torch.tensor([0.7]), text, told(1))
        renamed = family.predict(policy, noisy, torch.tensor([0.4]), other, told(1))
        shorter = family.predict(policy, noisy, torch.tensor([0.4]), text, told(1, 0.03))
    assert (later - base).abs().max() > 1e-6
    assert (renamed - base).abs().max() > 1e-6
    assert ((shorter - base).abs().max() > 1e-7) == (name not in UNTOLD)


@pytest.mark.parametrize("name", NAMES)
def test_first_losses_and_caches_that_change_nothing(audio: MakeAudio, name: str, tmp_path: Path) -> None:
    """DPO's is ln 2, CRPO's ln 2 and the winner's error."""
    live = made(audio, name)
    policy, batch = live.load(), batch_of(live)
    found = live.likelihood(policy, batch, Needs())
    assert Dpo(beta=1000)(found, found, batch).loss(batch).item() == pytest.approx(log(2), abs=1e-6)
    error = -found.logps[:, 0].mean().item()
    assert error > 0.1
    crpo = WeightedSum({"dpo": Dpo(beta=1000), "sft": Sft()})
    assert crpo(found, found, batch).loss(batch).item() == pytest.approx(log(2) + error, rel=1e-5)

    kept = made(audio, name, cache="disk", cache_folder=str(tmp_path))
    kept.prepare([comparison(prompt, row) for row, prompt in enumerate(PROMPTS)], torch.device("cpu"))
    cached = batch_of(kept)
    assert "prompts" not in cached.inputs
    assert "media" not in cached.inputs
    torch.testing.assert_close(kept.likelihood(policy, cached, Needs()).logps, found.logps, rtol=1e-5, atol=0)
    torch.testing.assert_close(cached.inputs["numbers"], batch.inputs["numbers"], rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_adapters_train(audio: MakeAudio, name: str) -> None:
    modality = made(audio, name, lora=Lora(r=2))
    policy, batch = modality.load(), batch_of(modality)
    trained = {key: value for key, value in policy.named_parameters() if value.requires_grad}
    assert all("lora_" in key for key in trained)
    modality.likelihood(policy, batch, Needs()).logps.sum().backward()
    moved = [key for key, value in trained.items() if value.grad is not None and value.grad.abs().max() > 0]
    assert len(moved) >= len(trained) // 2 - 1  # the first matrix of a pair has none while the second is zero


@pytest.mark.parametrize("name", NAMES)
def test_gradient_checkpointing_changes_no_gradient(audio: MakeAudio, name: str) -> None:
    if name == "longcat_audio":
        with pytest.raises(UserError, match="LongCatAudioDiTTransformer does not support gradient checkpointing"):
            made(audio, name, gradient_checkpointing=True).load()
        return
    gradients = []
    for checkpointing in (False, True):
        modality = made(audio, name, gradient_checkpointing=checkpointing)
        policy = modality.load()
        modality.likelihood(policy, batch_of(modality), Needs()).logps.sum().backward()
        gradients.append([value.grad for value in policy.parameters() if value.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 10
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["stable_audio", "tangoflux"])
def test_a_window_is_not_for_the_user_to_choose(audio: MakeAudio, name: str) -> None:
    with pytest.raises(ConfigError, match=r"modality.seconds is 0.05, and this model makes 0.128 seconds"):
        audio(f"waveform.{name}", seconds=0.05).check_model()
    assert audio(f"waveform.{name}").seconds == seconds_of(name)


def test_a_missing_torchsde_is_told(audio: MakeAudio, monkeypatch: pytest.MonkeyPatch) -> None:
    from modalign.modalities.audio.families import stable_audio

    monkeypatch.setattr(stable_audio, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs torchsde(?s:.)*pip install 'modalign\[audio\]'"):
        made(audio, "stable_audio").load()
