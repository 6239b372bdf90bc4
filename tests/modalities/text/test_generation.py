"""Sampling: a function of seed and prompt, true to the model's distribution, leaving the model as it was."""

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modalign.core.errors import RowError, UserError
from modalign.modalities.lora import Lora
from modalign.modalities.text.generation import Special, generate, left_padded, text_prompt
from modalign.modalities.text.modality import Text
from modalign.modalities.text.sampling_options import SamplingOptions
from modalign.modalities.text.token_choice import draw_tokens

from .conftest import FAMILIES, chat

MakeText = Callable[..., Text]
PROMPTS = ["The cat", "The dog number 7 sat on the mat and said", "go", "The mat said: go 3!", "a"]


def sharpen(model: Any) -> Any:
    """Random weights give nearly equal probabilities; larger ones give the model opinions."""
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(20)
    return model


def drawn_tokens(model: Any, ids: list[int], n: int, special: Special, options: SamplingOptions) -> list[list[int]]:
    return generate(model, [text_prompt(ids)], n, 0, special, options, partial(left_padded, pad=special.pad))[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_responses_do_not_depend_on_the_rest_of_the_batch(text: MakeText, family: str) -> None:
    modality = text(family)
    model = sharpen(modality.load())
    options: dict[str, Any] = {"n": 2, "seed": 3, "max_new_tokens": 12}
    together = modality.sample(model, PROMPTS, **options)
    assert [modality.sample(model, [prompt], **options)[0] for prompt in PROMPTS] == together
    assert modality.sample(model, PROMPTS[::-1], batch_size=3, **options) == together[::-1]
    assert modality.sample(model, PROMPTS, **{**options, "n": 1}) == [drawn[:1] for drawn in together]
    assert modality.sample(model, PROMPTS, **{**options, "seed": 4}) != together
    assert all(first != second for first, second in together)


def test_temperature_zero_is_the_likeliest_token(text: MakeText) -> None:
    modality = text()
    model = sharpen(modality.load())
    ids = modality.tokenizer("The cat", return_tensors="pt")["input_ids"]
    expected: list[int] = []
    for _ in range(10):
        token = int(model(input_ids=ids).logits[0, -1].argmax())
        if token == modality.tokenizer.eos_token_id:
            break
        expected.append(token)
        ids = torch.cat([ids, torch.tensor([[token]])], 1)
    found = modality.sample(model, ["The cat", *PROMPTS], max_new_tokens=10, temperature=0)[0][0]
    assert found == modality.tokenizer.decode(expected)


def test_the_first_token_follows_the_models_distribution(text: MakeText) -> None:
    modality = text()
    model = sharpen(modality.load())
    ids = modality.tokenizer("The cat")["input_ids"]
    draws = 2000
    options = SamplingOptions(max_new_tokens=1, temperature=0.7, batch_size=500)
    responses = drawn_tokens(model, ids, draws, Special(0), options)
    counts = Counter(response[0] if response else model.generation_config.eos_token_id for response in responses)
    expected = (model.eval()(input_ids=torch.tensor([ids])).logits[0, -1] / 0.7).softmax(-1)
    likeliest = expected.topk(8).indices.tolist()
    chi_squared = sum((counts[token] - draws * expected[token]) ** 2 / (draws * expected[token]) for token in likeliest)
    assert chi_squared < 30  # 8 degrees of freedom: p = 0.0002


@given(
    seed=st.integers(0, 1000),
    top_k=st.none() | st.integers(1, 12),
    top_p=st.none() | st.floats(0.05, 1.0),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_draws_are_transformers_own_warpers_by_inversion(seed: int, top_k: Any, top_p: Any, draw: float) -> None:
    from transformers import TopKLogitsWarper, TopPLogitsWarper

    logits = torch.randn(1, 10, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2
    warped = logits
    if top_k is not None:
        warped = TopKLogitsWarper(top_k)(None, warped)
    if top_p is not None:
        warped = TopPLogitsWarper(top_p)(None, warped)
    cumulative = warped.softmax(-1).cumsum(-1)[0]
    options = SamplingOptions(top_k=top_k, top_p=top_p)
    token = int(draw_tokens(logits, torch.tensor([[draw]], dtype=torch.float64), options))
    assert warped[0, token] > -torch.inf
    assert cumulative[token] >= draw - 1e-9
    assert token == 0 or cumulative[token - 1] <= draw + 1e-9


def test_chats_are_answered_by_a_message(text: MakeText) -> None:
    modality = text()
    model = modality.load()
    ((response,),) = modality.sample(model, [chat("go 1!")], max_new_tokens=4)
    assert response == [{"role": "assistant", "content": response[0]["content"]}]
    modality.preview(chat("go 1!"), response)


def test_a_response_ends_before_its_end_token(text: MakeText) -> None:
    modality = text()
    model = modality.load()
    eos = modality.tokenizer.eos_token_id
    # Nearly equal probabilities: one token in 300 is the end.
    options = SamplingOptions(max_new_tokens=3, batch_size=400)
    responses = drawn_tokens(model, [5], 400, Special(0, stop=(eos,)), options)
    assert all(eos not in response for response in responses)
    assert any(len(response) < 3 for response in responses)


def test_a_token_that_may_not_be_said_is_not_said(text: MakeText) -> None:
    model = sharpen(text().load())
    options = SamplingOptions(max_new_tokens=6)
    said = {token for response in drawn_tokens(model, [5], 20, Special(0), options) for token in response}
    never = tuple(sorted(said))[:3]
    for temperature in (0.0, 1.0):
        options = SamplingOptions(max_new_tokens=6, temperature=temperature)
        for response in drawn_tokens(model, [5], 20, Special(0, never=never), options):
            assert not set(never) & set(response)


def test_the_models_own_generation_settings_do_not_interfere(text: MakeText) -> None:
    modality = text()
    model = sharpen(modality.load())
    before = modality.sample(model, PROMPTS, max_new_tokens=8)
    config = model.generation_config
    config.update(repetition_penalty=5.0, min_new_tokens=8, no_repeat_ngram_size=1, temperature=0.1, do_sample=True)
    assert modality.sample(model, PROMPTS, max_new_tokens=8) == before
    assert model.generation_config is config


def test_a_policy_in_training_is_left_as_it_was(text: MakeText) -> None:
    modality = text(lora=Lora(r=2, dropout=0.5), disable_dropout=False, gradient_checkpointing=True)
    policy: Any = modality.load()
    policy.base_model.model.model.norm.eval()
    modes, state = [module.training for module in policy.modules()], torch.get_rng_state()
    first = modality.sample(policy, PROMPTS, max_new_tokens=6)
    assert first == modality.sample(policy, PROMPTS, max_new_tokens=6)
    assert [module.training for module in policy.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in policy.parameters())


def test_long_prompts_are_cut_to_what_the_model_takes(text: MakeText) -> None:
    modality = text(max_length=None)
    model = modality.load()
    assert len(modality.sample(model, ["cat " * 300], max_new_tokens=20)[0]) == 1
    with pytest.raises(UserError, match="max_new_tokens is 128"):
        modality.sample(model, ["cat"], max_new_tokens=128)
    with pytest.raises(RowError, match="tokens, and 108 fit"):
        text(max_length=None, truncation="error").sample(model, ["cat " * 300], max_new_tokens=20)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_token": 3}, "no option 'max_new_token'.*\n.*'max_new_tokens'"),
        ({"max_new_tokens": 0}, "max_new_tokens must"),
        ({"temperature": -1}, "temperature must"),
        ({"top_p": 0.0, "top_k": 0}, "top_p must be in .*; top_k must"),
        ({"batch_size": 0}, "batch_size must"),
        ({"n": 0}, "n is 0"),
    ],
)
def test_options_are_checked(text: MakeText, options: dict[str, Any], message: str) -> None:
    modality = text()
    with pytest.raises(UserError, match=message):
        modality.sample(modality.load(), ["a"], **options)
    with pytest.raises(RowError, match="not text"):
        modality.sample(modality.load(), [None])


def test_options_are_checked_without_a_model(text: MakeText) -> None:
    modality = text()
    modality.check_sampling({"max_new_tokens": 3, "temperature": 0})
    with pytest.raises(UserError, match="no option 'max_new_token'"):
        modality.check_sampling({"max_new_token": 3})
    with pytest.raises(UserError, match="temperature must not be negative"):
        modality.check_sampling({"temperature": -1})


def test_two_hundred_prompts_take_seconds(text: MakeText) -> None:
    modality = text()
    model = modality.load()
    start = time.process_time()
    modality.sample(model, [f"The cat number {n}" for n in range(200)], max_new_tokens=64)
    assert time.process_time() - start < 30
