"""Sampling: a function of seed and prompt, what transformers' own `generate` makes of the same choices."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from modalign.core.errors import RowError, UserError
from modalign.core.media import Media
from modalign.modalities.audio.reading.reader import read_clip
from modalign.modalities.audio.tokens.family import padded
from modalign.modalities.audio.tokens.generation import Job, TokenSamplingOptions, drawn_codes
from modalign.modalities.audio.tokens.modality import AudioTokens
from modalign.modalities.lora import Lora
from tests.tiny_audio.tokens import CODES, HOP, RATE

from .conftest import PROMPTS, dia_start

Policies = dict[str, tuple[AudioTokens, Any]]


def jobs(modality: AudioTokens, prompts: Any = PROMPTS) -> list[Job]:
    return [Job(prompt, modality.family.prompt_ids(modality.tokenizer, prompt), 0) for prompt in prompts]


def likeliest(modality: AudioTokens, policy: Any, frames: int, guidance: float, top_k: int | None) -> list[Tensor]:
    options = TokenSamplingOptions(temperature=0, top_k=top_k)
    return drawn_codes(modality.family, policy, jobs(modality), 0, frames, guidance, options)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("name", ["musicgen", "musicgen_stereo"])
def test_the_likeliest_tokens_are_those_of_musicgens_generate(policies: Policies, name: str, guidance: float) -> None:
    modality, policy = policies[name]
    ids, mask = padded([job.ids for job in jobs(modality)])
    heard: list[Tensor] = []
    decode = policy.audio_encoder.decode
    policy.audio_encoder.decode = lambda codes, **scales: (heard.append(codes[0]), decode(codes, **scales))[1]
    options = {"do_sample": False, "guidance_scale": guidance}
    policy.eval().generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=12 + modality.family.pattern.tail - 1, **options
    )
    del policy.audio_encoder.decode
    theirs = torch.stack(heard, -1).permute(0, 2, 1, 3).flatten(2)
    assert torch.equal(torch.stack(likeliest(modality, policy, 12, guidance, None)), theirs)


@pytest.mark.parametrize(("guidance", "top_k"), [(1.0, None), (3.0, None), (3.0, 5)])
def test_the_likeliest_tokens_are_those_of_dias_generate(policies: Policies, guidance: float, top_k: Any) -> None:
    modality, policy = policies["dia"]
    ids, mask = padded([job.ids for job in jobs(modality)])
    found = policy.eval().generate(
        input_ids=ids,
        attention_mask=mask,
        **dia_start(modality, len(ids)),
        do_sample=False,
        guidance_scale=guidance,
        top_k=top_k,
        max_length=14,
    )
    frames = (found[:, :, 0] < CODES).sum(1).tolist()
    mine = likeliest(modality, policy, 12, guidance, top_k)
    assert [len(codes) for codes in mine] == frames
    assert guidance > 1 or len(set(frames)) > 1  # some end before the others
    for row, codes in enumerate(mine):
        assert torch.equal(modality.family.pattern.frames_of(found[row], frames[row]), codes)


@pytest.mark.parametrize("name", ["musicgen", "dia"])
def test_clips_do_not_depend_on_the_rest_of_the_batch(policies: Policies, name: str) -> None:
    modality, policy = policies[name]
    state = torch.get_rng_state()
    policy.train()
    options: dict[str, Any] = {"n": 2, "seed": 3, "seconds": 0.2}
    together = modality.sample(policy, PROMPTS, **options)
    alone = [modality.sample(policy, [prompt], batch_size=1, **options)[0] for prompt in PROMPTS]
    for mine, theirs in zip(together, alone, strict=True):
        for one, other in zip(mine, theirs, strict=True):
            assert torch.equal(one.samples, other.samples)
    assert torch.equal(torch.get_rng_state(), state)
    assert policy.training
    first, second = together[1]
    assert first.samples.shape != second.samples.shape or not torch.equal(first.samples, second.samples)
    other_seed = modality.sample(policy, PROMPTS[1:2], **{**options, "seed": 4})[0][0]
    assert other_seed.samples.shape != first.samples.shape or not torch.equal(other_seed.samples, first.samples)


def test_how_long_clips_are(policies: Policies, tokens: Callable[..., AudioTokens]) -> None:
    modality, policy = policies["musicgen_stereo"]
    ((clip,),) = modality.sample(policy, ["a dog"], seconds=0.111)
    assert (clip.samples.shape, clip.rate) == ((2, round(0.111 * RATE)), RATE)
    assert modality._sampled_frames(policy.generation_config, 0.111) == 6
    assert modality._sampled_frames(policy.generation_config, 0.12) == 6
    ((clip,),) = tokens("musicgen", seconds=0.2).sample(policies["musicgen"][1], ["a dog"])
    assert clip.samples.shape == (1, 10 * HOP)
    ((clip,),) = policies["musicgen"][0].sample(policies["musicgen"][1], ["a dog"])
    assert clip.samples.shape == (1, (100 - 3) * HOP)  # of a max_length of 100


@pytest.mark.parametrize(("written", "frames"), [({"max_new_tokens": 22}, 20), ({"max_length": 23}, 20), ({}, 128 - 3)])
def test_a_length_that_the_generation_config_says_or_does_not(
    policies: Policies, written: dict[str, int], frames: int
) -> None:
    from transformers import GenerationConfig

    modality, _ = policies["musicgen"]
    assert modality.family.pattern.tail == 3
    assert modality._sampled_frames(GenerationConfig(**written), None) == frames


def test_more_tokens_to_draw_from_than_there_are(policies: Policies) -> None:
    modality, policy = policies["dia"]
    ((clip,),) = modality.sample(policy, ["a dog"], seconds=0.2, top_k=5000)
    ((same,),) = modality.sample(policy, ["a dog"], seconds=0.2, top_k=CODES + 4)
    assert torch.equal(clip.samples, same.samples)


def test_a_policy_that_ends_at_once_makes_one_frame(policies: Policies, monkeypatch: pytest.MonkeyPatch) -> None:
    modality, policy = policies["dia"]
    logits = modality.family.logits
    towards_the_end = 1000 * (torch.arange(CODES + 4) == CODES)
    monkeypatch.setattr(modality.family, "logits", lambda *arguments: logits(*arguments) + towards_the_end)
    for drawn in modality.sample(policy, PROMPTS, seconds=0.5, n=2):
        assert {clip.samples.shape for clip in drawn} == {(1, HOP)}


def test_the_first_frame_follows_the_models_distribution(policies: Policies) -> None:
    modality, policy = policies["musicgen"]
    draws, family = 1500, modality.family
    (job,) = jobs(modality, ["a dog"])
    options = TokenSamplingOptions(temperature=1.5, batch_size=500)
    many = [Job(job.prompt, job.ids, draw) for draw in range(draws)]
    drawn = torch.stack(drawn_codes(family, policy, many, 0, 1, 1.0, options))[:, 0, 0]
    start = torch.full((3, 1), CODES)
    logits = policy(input_ids=torch.tensor([job.ids]), decoder_input_ids=start).logits[0, -1]
    expected = (logits / 1.5).softmax(-1)
    counts = drawn.bincount(minlength=CODES)
    likely = expected.topk(6).indices
    chi_squared = ((counts[likely] - draws * expected[likely]) ** 2 / (draws * expected[likely])).sum()
    assert chi_squared < 25  # 6 degrees of freedom: p = 0.0003


def test_options_and_prompts_that_are_refused(policies: Policies) -> None:
    modality, policy = policies["musicgen"]
    for options, message in [
        ({"tempo": 1}, "no option 'tempo'"),
        ({"seconds": 0}, "seconds is 0"),
        ({"seconds": "1"}, "seconds is '1'"),
        ({"guidance_scale": 0.5}, "guidance_scale is 0.5"),
        ({"temperature": -1}, "temperature is -1"),
        ({"top_k": 0}, "top_k must be at least 1"),
        ({"top_p": 2.0}, "top_p must be in"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
    ]:
        with pytest.raises(UserError, match=message):
            modality.check_sampling(options)
    with pytest.raises(UserError, match="Sampling: seconds is 9, which is 450 frames; the model takes 1 to 125"):
        modality.sample(policy, ["a"], seconds=9)
    with pytest.raises(UserError, match="no text"):
        modality.sample(policy, [3])
    with pytest.raises(UserError, match="n is 0"):
        modality.sample(policy, ["a"], n=0)
    with pytest.raises(RowError, match="the prompt is empty"):
        policies["dia"][0].sample(policies["dia"][1], [""])


def test_clips_are_shown_and_saved(policies: Policies, tmp_path: Path) -> None:
    modality, policy = policies["musicgen"]
    ((clip,),) = modality.sample(policy, ["a dog"], seconds=0.3)
    path = modality.save(clip, tmp_path / "folder" / "sound")
    assert path.name == "sound.wav"
    torch.testing.assert_close(read_clip(Media(str(path))).samples, clip.samples, rtol=0, atol=1e-4)
    assert "0.30 seconds, 1600 Hz, mono" in modality.preview("a dog", clip)
    assert modality.contact_sheet(["a dog"], {"base": [clip], "policy": [Media(str(path))]}).width > 0
    assert modality.sound(clip)[1] == RATE


def test_an_adapter_is_heard(tokens: Callable[..., AudioTokens]) -> None:
    modality = tokens("musicgen", lora=Lora(r=2), dtype="float32")
    policy = modality.load()
    before = modality.sample(policy, ["a dog"], seconds=0.3)[0][0]
    with torch.no_grad():
        for name, weight in policy.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 1)
    assert not torch.equal(modality.sample(policy, ["a dog"], seconds=0.3)[0][0].samples, before.samples)
    with modality.adapter_off(policy):
        assert torch.equal(modality.sample(policy, ["a dog"], seconds=0.3)[0][0].samples, before.samples)
