"""Log-probabilities are transformers' own loss on the same tokens; nothing but a sound and its prompt moves them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoProcessor

from modalign.modalities.audio.tokens.likelihood import (
    select_cells,
    token_grid,
    token_logps,
    token_logps_partly_free,
)
from modalign.modalities.audio.tokens.modality import AudioTokens
from tests.sounds import noise, tone
from tests.tiny_audio.tokens import CODES, MODELS, RATE

from .conftest import PROMPTS, batch_of, cells, dia_start, pair, sequences

Policies = dict[str, tuple[AudioTokens, Any]]
LENGTHS = [9, 4, 6]


def gradients(policy: Any, loss: Tensor) -> dict[str, Tensor]:
    named = {name: weight for name, weight in policy.named_parameters() if weight.requires_grad}
    return dict(zip(named, torch.autograd.grad(loss, list(named.values()), allow_unused=True), strict=True))


def assert_same(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    for name, gradient in left.items():
        torch.testing.assert_close(gradient, right[name], rtol=1e-5, atol=1e-6)  # Dia normalises in float32


def dia_labels(modality: AudioTokens, prompts: list[str], sounds: list[Any]) -> Any:
    decoder, family = modality.family.config.decoder_config, modality.family
    return AutoProcessor.from_pretrained(modality.model)(
        text=prompts,
        audio=[sound.samples[0].numpy() for sound in sounds],
        padding=True,
        generation=False,
        output_labels=True,
        sampling_rate=RATE,
        delay_pattern=list(family.pattern.delays),
        bos_token_id=decoder.bos_token_id,
        pad_token_id=decoder.pad_token_id,
        eos_token_id=decoder.eos_token_id,
    )


@pytest.mark.parametrize("name", ["musicgen", "musicgen_stereo"])
def test_musicgens_own_loss(policies: Policies, name: str) -> None:
    modality, policy = policies[name]
    inputs = cells(modality, LENGTHS)
    logps, scored = token_logps(modality.family, policy, inputs, 5)
    own = -(logps.sum((0, 1)) / scored.sum((0, 1))).mean()  # of a mean for each codebook
    tokens, _ = sequences(modality, inputs)
    # The model leaves out what is the padding token, and shifts by a step.
    theirs = policy(input_ids=inputs["prompt_ids"], attention_mask=inputs["prompt_mask"], labels=tokens[:, 1:]).loss
    assert own.item() == pytest.approx(theirs.item(), rel=1e-6)  # transformers' own is summed in float32
    assert_same(gradients(policy, own), gradients(policy, theirs))


def test_dias_own_loss_on_what_its_processor_makes_of_sounds(policies: Policies) -> None:
    modality, policy = policies["dia"]
    sounds = [noise(0.3, RATE, level=0.5), tone(300, 0.11, RATE)]
    batch = batch_of(modality, [pair(PROMPTS[1], *sounds)])
    inputs = {**batch.inputs, "codes": modality.codes_of(batch.inputs)}
    logps, scored = token_logps(modality.family, policy, inputs, 4)
    own = -logps.sum() / scored.sum()
    theirs = policy(**dia_labels(modality, [PROMPTS[1]] * 2, sounds)).loss
    assert own.item() == pytest.approx(theirs.item(), rel=1e-6)  # transformers' own is summed in float32
    assert_same(gradients(policy, own), gradients(policy, theirs))


@pytest.mark.parametrize("name", MODELS)
def test_log_softmax_of_a_direct_forward(policies: Policies, name: str) -> None:
    modality, policy = policies[name]
    inputs = cells(modality, [5])
    logps, scored = token_logps(modality.family, policy, inputs, 100)
    tokens, _ = sequences(modality, inputs)
    given_tokens = tokens[:, :-1] if name == "dia" else tokens[0, :-1].T
    prompt = {"input_ids": inputs["prompt_ids"][:1], "attention_mask": inputs["prompt_mask"][:1]}
    logits = policy(**prompt, decoder_input_ids=given_tokens).logits  # (K, P, V)
    for k, delay in enumerate(modality.family.pattern.delays):
        for frame in range(5):
            expected = logits[k, frame + delay].log_softmax(-1)[inputs["codes"][0, frame, k]]
            assert logps[0, frame + delay, k].item() == pytest.approx(expected.item(), rel=1e-10)
    if name == "dia":
        ends = [logits[k, 5 + delay].log_softmax(-1)[CODES] for k, delay in enumerate(modality.family.pattern.delays)]
        assert float(logps.sum() - logps[scored & (tokens[:, 1:] < CODES)].sum()) == pytest.approx(
            float(torch.stack(ends).sum()), rel=1e-9
        )


@pytest.mark.parametrize("name", MODELS)
def test_padding_has_no_gradient_and_no_say(policies: Policies, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    modality, policy = policies[name]
    inputs = cells(modality, LENGTHS, [True, False, True])
    kept = []
    hidden_of = modality.family.hidden

    def hidden(*args: Any) -> Tensor:
        kept.append(hidden_of(*args).detach().requires_grad_())
        return kept[0]

    monkeypatch.setattr(modality.family, "hidden", hidden)
    logps, scored = token_logps(modality.family, policy, inputs, 3)
    logps.sum().backward()
    moved = kept[0].grad.abs().sum(-1) > 0
    assert torch.equal(moved, scored.any(-1))
    assert not scored[1, 5:].any() or name != "dia"
    assert bool((logps[~scored] == 0).all())
    monkeypatch.undo()
    with torch.no_grad():
        before = token_logps(modality.family, policy, inputs, 3)[0]
        beyond = torch.arange(max(LENGTHS)) >= torch.tensor(LENGTHS)[:, None]
        changed = {**inputs, "codes": inputs["codes"].masked_fill(beyond[..., None], 7)}
        assert torch.equal(token_logps(modality.family, policy, changed, 3)[0], before)


def test_text_encoder_and_codec_are_frozen(policies: Policies) -> None:
    for modality, policy in policies.values():
        frozen = {name for name, weight in policy.named_parameters() if not weight.requires_grad}
        assert frozen == {name for name, _ in policy.named_parameters() if name.startswith(modality.family.frozen)}
        logps, _ = token_logps(modality.family, policy, cells(modality, [4]), 100)
        moved = gradients(policy, logps.sum())
        assert all(gradient is not None and bool(gradient.any()) for gradient in moved.values())


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(sorted(MODELS)),
    lengths=st.lists(st.integers(1, 8), min_size=1, max_size=4),
    chunk=st.integers(1, 40),
    order=st.randoms(use_true_random=False),
    seed=st.integers(0, 99),
)
def test_padding_order_and_chunks_change_nothing(
    policies: Policies, name: str, lengths: list[int], chunk: int, order: Any, seed: int
) -> None:
    modality, policy = policies[name]
    whole = [order.random() < 0.7 for _ in lengths]
    inputs = cells(modality, lengths, whole, seed)
    with torch.no_grad():
        together, scored = token_logps(modality.family, policy, inputs, chunk)
        places = list(range(len(lengths)))
        order.shuffle(places)
        shuffled, _ = token_logps(modality.family, policy, select_cells(inputs, torch.tensor(places)), 1000)
        torch.testing.assert_close(shuffled, together[places], rtol=0, atol=1e-9)
        for row in places:
            alone, own = token_logps(modality.family, policy, select_cells(inputs, torch.tensor([row])), 1000)
            torch.testing.assert_close(alone[0], together[row, : alone.shape[1]], rtol=0, atol=1e-9)
            assert int(own.sum()) == int(scored[row].sum())


@pytest.mark.parametrize("name", MODELS)
def test_cells_without_gradient(policies: Policies, name: str) -> None:
    modality, policy = policies[name]
    inputs = cells(modality, LENGTHS)
    free = torch.tensor([True, False, True])
    logps, scored = token_logps_partly_free(modality.family, policy, inputs, 5, free)
    whole, mask = token_logps(modality.family, policy, inputs, 5)
    torch.testing.assert_close(logps, whole, rtol=0, atol=1e-9)
    assert torch.equal(scored, mask)
    assert_same(gradients(policy, logps.sum()), gradients(policy, whole[1].sum()))


def test_tokens_step_by_step(policies: Policies) -> None:
    modality, policy = policies["musicgen"]
    batch = batch_of(modality, [pair("a dog", noise(0.2, RATE), tone(200, 0.1, RATE))])
    inputs = {**batch.inputs, "codes": modality.codes_of(batch.inputs)}
    logps, scored = token_logps(modality.family, policy, inputs, 5)
    grid, mask = token_grid(logps, scored, batch)
    assert mask.sum(-1).tolist() == batch.sizes.tolist() == [[30, 15]]
    assert grid.shape == (1, 2, 30)
    assert torch.equal(grid[0, 0], logps[0][scored[0]])
    torch.testing.assert_close(grid.sum(-1)[0], logps.sum((1, 2)))


@contextmanager
def captured(policy: Any, name: str) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """The `(K, V)` logits of each step that `generate` takes, and the `(K, T)` codes that the codec gets.

    Dia's `generate` returns logits in which what may not be drawn is minus infinity already.
    """
    logits: list[Tensor] = []
    codes: list[Tensor] = []
    decode = policy.audio_encoder.decode if name != "dia" else None

    def keep(module: Any, arguments: Any, output: Any) -> None:
        logits.append(output.logits[:, -1].detach().double())

    def listen(found: Tensor, **scales: Any) -> Any:
        codes.append(found[0, 0])
        return decode(found, **scales)

    handle = (policy if name == "dia" else policy.decoder).register_forward_hook(keep)
    if decode is not None:
        policy.audio_encoder.decode = listen
    try:
        yield logits, codes
    finally:
        handle.remove()
        if decode is not None:
            del policy.audio_encoder.decode


@pytest.mark.parametrize("name", MODELS)
def test_what_generate_drew_has_the_probability_it_was_drawn_with(policies: Policies, name: str) -> None:
    modality, policy = policies[name]
    family, frames = modality.family, 8
    inputs = cells(modality, [frames])
    arguments = {"input_ids": inputs["prompt_ids"][:1], "attention_mask": inputs["prompt_mask"][:1]}
    arguments |= {"do_sample": False, "guidance_scale": 1.0}
    if name == "dia":
        arguments |= dia_start(modality) | {"max_length": frames + 2}
    else:
        arguments["max_new_tokens"] = frames + family.pattern.tail - 1
    with captured(policy, name) as (steps, heard):
        sequence = policy.generate(**arguments)
    if name == "dia":
        frames = int((sequence[0, :, 0] < CODES).sum())
        codes = family.pattern.frames_of(sequence[0], frames)
    else:
        codes = torch.stack([part.T for part in heard], -1).flatten(1)
        steps = steps[1:]  # MusicGen's `generate` computes the first step twice
    expected = sum(
        float(steps[frame + delay][k].log_softmax(-1)[codes[frame, k]])
        for k, delay in enumerate(family.pattern.delays)
        for frame in range(frames)
    )
    scored = {**inputs, "codes": codes[None], "frames": torch.tensor([frames])}
    with torch.no_grad():
        logps, _ = token_logps(family, policy, scored, 100)
    tokens, _ = sequences(modality, scored)
    assert float(logps[tokens[:, 1:] < CODES].sum()) == pytest.approx(expected, rel=1e-10)
