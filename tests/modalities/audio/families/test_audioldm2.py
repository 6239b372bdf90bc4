"""AudioLDM 2's conditioning: GPT-2's states under today's transformers, prompts one by one, refusals."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modalign.core.batch import PreferenceBatch
from modalign.core.errors import UserError
from modalign.core.objectives.base import Needs
from modalign.modalities.audio.modality import Audio
from modalign.modalities.diffusion.draws import RowDraws
from modalign.modalities.diffusion.timesteps import Timesteps
from tests.modalities.audio.families.test_mel_latents import PROMPTS, batch_of, comparison, plain
from tests.modalities.audio.pipelines.test_mel import transcribed
from tests.modalities.image.families.test_families import changed
from tests.modalities.image.pictures import disturb


def states_without_a_cache(pipeline: Any, prompt: str) -> tuple[Tensor, Tensor]:
    """T5's tokens, and GPT-2's eight states, each from a whole pass over what came before."""
    clap_ids = pipeline.tokenizer(prompt, padding="max_length", max_length=40, return_tensors="pt")
    pooled = pipeline.text_encoder.text_model(**clap_ids).pooler_output
    spoken = nn.functional.normalize(pipeline.text_encoder.text_projection(pooled), dim=-1)[:, None]
    tokens = pipeline.text_encoder_2(**pipeline.tokenizer_2(prompt, return_tensors="pt")).last_hidden_state
    joint = pipeline.projection_model
    parts = [
        joint.sos_embed.expand(1, 1, -1),
        joint.projection(spoken),
        joint.eos_embed.expand(1, 1, -1),
        joint.sos_embed_1.expand(1, 1, -1),
        joint.projection_1(tokens),
        joint.eos_embed_1.expand(1, 1, -1),
    ]
    sequence = torch.cat(parts, 1)
    for _ in range(8):
        states = pipeline.language_model.transformer(inputs_embeds=sequence, use_cache=False).last_hidden_state
        sequence = torch.cat([sequence, states[:, -1:]], 1)
    return tokens, sequence[:, -8:]


@pytest.fixture(scope="module")
def double(audio_folder: Callable[[str], Path]) -> Audio:
    folder = str(audio_folder("mel.audioldm2"))
    return Audio(folder, cache="off", cache_dtype="float64", dtype="float64", encoder_dtype="float64")


def test_gpt_2s_states(double: Audio) -> None:
    with torch.no_grad():
        found = double.family.encode_prompts(list(PROMPTS))
        for row, prompt in enumerate(PROMPTS):
            tokens, states = states_without_a_cache(double.family.pipeline, prompt)
            count = tokens.shape[1]
            torch.testing.assert_close(found["prompt_embeds"][row, :count], tokens[0], rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(found["generated_prompt_embeds"][row], states[0], rtol=1e-9, atol=1e-12)
            assert found["attention_mask"][row].tolist() == [1] * count + [0] * (
                found["attention_mask"].shape[1] - count
            )
            assert not found["prompt_embeds"][row, count:].any()
    assert found["attention_mask"].min() == 0


def test_each_prompt_is_encoded_as_by_the_pipeline_alone(audio_folder: Callable[[str], Path]) -> None:
    folder = audio_folder("mel.audioldm2")
    family, pipeline = Audio(str(folder), cache="off").family, plain(folder)
    with torch.no_grad():
        found = family.encode_prompts(["", *PROMPTS])
        for row, prompt in enumerate(["", *PROMPTS]):
            tokens, mask, states = pipeline.encode_prompt(prompt, "cpu", 1, False)
            assert torch.equal(found["prompt_embeds"][row, : mask.shape[1]], tokens[0])
            assert torch.equal(found["attention_mask"][row, : mask.shape[1]], mask[0])
            assert torch.equal(found["generated_prompt_embeds"][row], states[0])
        # In a batch, the pipeline lets one prompt's padding move another's states.
        together = pipeline.encode_prompt(list(PROMPTS), "cpu", 1, False)[2]
    assert (together[0] - found["generated_prompt_embeds"][1]).abs().max() > 1e-4


def transcribed_errors(modality: Audio, batch: PreferenceBatch, model: nn.Module) -> Tensor:
    """`(rows, 2)`: mean of (eps - n)^2, one sound at a time, without padding."""
    pipeline = modality.family.pipeline
    abar = pipeline.scheduler.alphas_cumprod.double()
    keys = RowDraws.of(batch)
    time = (keys.positions(Timesteps(), 1000, 0) * 1000).long()
    noise, posterior = keys.noise((4, 8, 2), 0).double(), keys.noise((4, 8, 2), 0, "posterior").double()
    errors = []
    for n, candidate in enumerate(c for row, p in enumerate(PROMPTS) for c in comparison(p, row).candidates):
        samples, _ = modality.decode(candidate.response)
        mel = torch.from_numpy(transcribed(samples[0].double().numpy(), modality.family.mel))  # type: ignore[attr-defined]
        with torch.no_grad():
            tokens, states = states_without_a_cache(pipeline, PROMPTS[n // 2])
            moments = pipeline.vae.encode(mel[None, None]).latent_dist
            z = (moments.mean + moments.std * posterior[n]) * pipeline.vae.config.scaling_factor
        noisy = abar[time[n]].sqrt() * z + (1 - abar[time[n]]).sqrt() * noise[n]
        answer = model(noisy, time[n], encoder_hidden_states=states, encoder_hidden_states_1=tokens).sample
        errors.append(((answer - noise[n]) ** 2).mean())
    return torch.stack(errors).reshape(-1, 2)


def test_errors_and_their_gradients(double: Audio) -> None:
    policy = copy.deepcopy(double.load())
    disturb(policy, 1e-2)
    batch = batch_of(double, epoch=1)
    found, expected = -double.likelihood(policy, batch, Needs()).logps, transcribed_errors(double, batch, policy)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    parameters = list(policy.parameters())
    contrast = torch.tensor([1.0, -1.0], dtype=torch.float64)
    ours, theirs = (
        torch.autograd.grad((errors * contrast).sum(), parameters, allow_unused=True) for errors in (found, expected)
    )
    assert max(gradient.abs().max().item() for gradient in theirs if gradient is not None) > 1e-3
    for one, other in zip(ours, theirs, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-10)


def test_a_published_pipelines_bare_gpt_2_generates(audio_folder: Callable[[str], Path], tmp_path: Path) -> None:
    """The models on the hub name GPT2Model, whose class has no generation in transformers 5."""
    from transformers import GPT2LMHeadModel, GPT2Model

    folder = changed(
        audio_folder("mel.audioldm2"),
        tmp_path / "model",
        "model_index.json",
        language_model=["transformers", "GPT2Model"],
    )
    language_model = GPT2LMHeadModel.from_pretrained(folder / "language_model").transformer
    shutil.rmtree(folder / "language_model")
    language_model.save_pretrained(folder / "language_model")
    whole, bare = Audio(str(audio_folder("mel.audioldm2")), cache="off"), Audio(str(folder), cache="off")
    assert isinstance(bare.family.pipeline.language_model.transformer, GPT2Model)
    with torch.no_grad():
        expected, found = (modality.family.encode_prompts(PROMPTS) for modality in (whole, bare))
    for name, values in expected.items():
        assert torch.equal(found[name], values), name
    (clip,) = bare.sample(bare.load(), ["a cat"], seed=1, steps=2)[0]
    assert torch.equal(clip.samples, whole.sample(whole.load(), ["a cat"], seed=1, steps=2)[0][0].samples)
    assert all(not values.is_meta for values in bare.family.pipeline.language_model.parameters())


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("model_index.json", {"text_encoder_2": ["transformers", "VitsModel"]}, "is a VitsModel: it speaks a transcri"),
        ("vocoder/config.json", {"sampling_rate": 48000}, "makes 48000 samples a second"),
        ("unet/config.json", {"in_channels": 8}, "8 channels for 4"),
        ("model_index.json", {"vocoder": [None, None]}, "has no vocoder"),
        ("vocoder/config.json", {"model_in_dim": 6}, "6 bands do not divide by the VAE's 4"),
    ],
)
def test_other_models_are_refused(
    audio_folder: Callable[[str], Path], tmp_path: Path, file: str, values: dict[str, Any], message: str
) -> None:
    folder = changed(audio_folder("mel.audioldm2"), tmp_path / "model", file, **values)
    with pytest.raises(UserError, match=message):
        Audio(str(folder), cache="off").check_model()
