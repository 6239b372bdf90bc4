"""What the likelihood of responses to images costs, and what an objective may ask of it."""

import copy
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modalign.core.batch import CHOSEN, OTHER_IMAGE, REJECTED, under
from modalign.core.errors import ConfigError
from modalign.core.objectives.base import Needs
from modalign.modalities.lora import Lora
from modalign.modalities.text.corrected_tokens import differing
from modalign.modalities.vision_language import towers
from modalign.modalities.vision_language.features import POOLED
from modalign.modalities.vision_language.likelihood import MISLED, media_text_likelihood
from modalign.modalities.vision_language.modality import VisionLanguage
from modalign.modalities.vision_language.pathways import Merged
from modalign.modalities.vision_language.towers import pathway_of, tower_is_frozen
from tests.modalities.vision_language.cells import Row, batch_of, photo

ModelOf = Callable[[str], Any]
RowsOf = Callable[[str], list[Row]]
NOTHING = Needs()
ELSEWHERE = under(CHOSEN, OTHER_IMAGE)
PROPERTIES = ("qwen2_5_vl", "qwen3_5", "gemma3", "paligemma", "mllama")
"""Families that differ in what could go wrong: positions, recurrence, masks, prefixes, cross-attention."""


@contextmanager
def counted(model: Any) -> Iterator[list[int]]:
    """A list that grows with each call of the vision tower."""
    base = model.base_model
    tower = next(getattr(base, name) for name in ("visual", "vision_tower", "vision_model") if hasattr(base, name))
    calls: list[int] = []
    handle = tower.register_forward_hook(lambda *_: calls.append(1))
    try:
        yield calls
    finally:
        handle.remove()


def logps(model: Any, rows: list[dict[str, Row]], needs: Needs = NOTHING) -> torch.Tensor:
    return media_text_likelihood(model, batch_of(rows), needs, 512).logps


def freeze_vision(model: Any) -> None:
    model.requires_grad_(False)
    model.get_decoder().requires_grad_(True)


def test_each_set_of_images_is_encoded_once(family: str, model_of: ModelOf, rows_of: RowsOf) -> None:
    model, (first, second, *_) = model_of(family), rows_of(family)
    batch = batch_of([{CHOSEN: first, REJECTED: second}, {CHOSEN: second, REJECTED: first}])
    with torch.no_grad():
        media_text_likelihood(model, batch, NOTHING, 512)  # checks the model's pathway
        assert pathway_of(model, batch.inputs).encodes
        with counted(model) as calls:
            media_text_likelihood(model, batch, NOTHING, 512)
    assert len(calls) == 1


def test_sets_of_like_shapes_are_encoded_in_one_call(model_of: ModelOf, rows_of: RowsOf) -> None:
    model, (first, *_) = model_of("qwen2_5_vl"), rows_of("qwen2_5_vl")
    rows = [{CHOSEN: Row(first.processor, (photo(seed, 20 + 8 * seed),), "What?", "A circle")} for seed in range(3)]
    with torch.no_grad():
        found = logps(model, rows)
        with counted(model) as calls:
            again = logps(model, rows)
        expected = torch.stack([row[CHOSEN].direct_logps(model).sum() for row in rows])
    assert len(calls) == 1
    torch.testing.assert_close(found[:, 0], expected, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(again, found, atol=1e-4, rtol=1e-5)


def test_a_frozen_tower_is_run_once_for_a_policy_and_the_same_model_as_its_reference(
    model_of: ModelOf, rows_of: RowsOf
) -> None:
    model, (first, second, *_) = model_of("llava"), rows_of("llava")
    freeze_vision(model)
    batch = batch_of([{CHOSEN: first, REJECTED: second}])
    media_text_likelihood(model, batch, NOTHING, 512)
    batch = batch_of([{CHOSEN: first, REJECTED: second}])
    with counted(model) as calls:
        with torch.no_grad():
            reference = media_text_likelihood(model, batch, NOTHING, 512)
        policy = media_text_likelihood(model, batch, NOTHING, 512)
    assert len(calls) == 1
    torch.testing.assert_close(policy.logps.detach(), reference.logps)
    policy.logps.sum().backward()
    trained = {name for name, p in model.named_parameters() if p.grad is not None}
    assert trained
    assert all("language_model" in name or "lm_head" in name for name in trained)


def test_features_of_a_frozen_tower_do_not_outlive_its_being_frozen(model_of: ModelOf, rows_of: RowsOf) -> None:
    model, (first, second, *_) = model_of("llava"), rows_of("llava")
    freeze_vision(model)
    batch = batch_of([{CHOSEN: first, REJECTED: second}])
    media_text_likelihood(model, batch, NOTHING, 512)
    model.requires_grad_(True)
    media_text_likelihood(model, batch, NOTHING, 512).logps.sum().backward()
    assert model.base_model.multi_modal_projector.linear_2.weight.grad.any()


def test_a_policy_without_its_adapter_shares_its_tower(vlm_folder: Callable[[str], Path], rows_of: RowsOf) -> None:
    rows = rows_of("qwen3_vl")
    modality = VisionLanguage(str(vlm_folder("qwen3_vl")), max_length=512, lora=Lora(r=2))
    policy = modality.load()
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(0))
    modality.likelihood(policy, batch_of([{CHOSEN: row} for row in rows]), NOTHING)  # checks the model's pathway
    batch = batch_of([{CHOSEN: row} for row in rows])
    with counted(policy.get_base_model()) as calls:
        found = modality.likelihood(policy, batch, NOTHING).logps
        with modality.adapter_off(policy), torch.no_grad():
            reference = modality.likelihood(policy, batch, NOTHING).logps
            expected = torch.stack([row.direct_logps(policy).sum() for row in rows])
    assert len(calls) == 1 + sum(len(row.images) > 0 for row in rows)  # `expected` runs each row
    torch.testing.assert_close(reference[:, 0], expected, atol=1e-4, rtol=1e-5)
    assert (found - reference).abs().min() > 1e-3


def test_a_tower_with_an_adapter_is_no_reference_without_it(vlm_folder: Callable[[str], Path], rows_of: RowsOf) -> None:
    """Whichever is asked first, and whether or not anything trains."""
    rows = [{CHOSEN: row} for row in rows_of("llava")]
    modality = VisionLanguage(str(vlm_folder("llava")), max_length=512, lora=Lora(r=2), train_vision=True)
    policy = modality.load()
    for name, weight in policy.named_parameters():
        if "lora_B" in name and "vision" in name:
            torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(0))
    expected = modality.likelihood(policy, batch_of(rows), NOTHING).logps
    batch = batch_of(rows)
    with modality.adapter_off(policy), torch.no_grad():
        before = modality.likelihood(policy, batch, NOTHING).logps
    found = modality.likelihood(policy, batch, NOTHING).logps
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
    assert (found - before)[:4].abs().min() > 1e-3
    found.sum().backward()
    assert any(p.grad is not None and p.grad.any() for name, p in policy.named_parameters() if "vision" in name)
    policy.requires_grad_(False)
    batch = batch_of(rows)
    modality.likelihood(policy, batch, NOTHING)
    with modality.adapter_off(policy):
        torch.testing.assert_close(modality.likelihood(policy, batch, NOTHING).logps, before, atol=1e-4, rtol=1e-5)


def test_sets_that_cannot_be_told_apart_are_encoded_one_by_one(
    model_of: ModelOf, rows_of: RowsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, (first, *_) = copy.deepcopy(model_of("llava")), rows_of("llava")
    monkeypatch.setattr(towers, "_places", lambda _causal, _pathway, inputs: [7] * len(inputs["media"]))
    rows = [{CHOSEN: Row(first.processor, (photo(seed),), "What?", "A circle")} for seed in range(3)]
    with torch.no_grad():
        expected = torch.stack([row[CHOSEN].direct_logps(model).sum() for row in rows])
        for _ in range(2):
            with counted(model) as calls:
                torch.testing.assert_close(logps(model, rows)[:, 0], expected, atol=1e-4, rtol=1e-5)
    assert len(calls) == 3


def test_the_first_images_of_like_shapes_have_the_bits_that_they_would_have_later(
    model_of: ModelOf, rows_of: RowsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where images encoded together differ a little from those encoded apart, as they do on accelerators."""
    model, (first, *_) = copy.deepcopy(model_of("llava")), rows_of("llava")
    encode = Merged.encode

    def rounded(self: Merged, causal: Any, images: Any) -> Any:
        scale = 1 + 1e-5 * len(images["pixel_values"])
        return {POOLED: tuple(scale * features for features in encode(self, causal, images)[POOLED])}

    monkeypatch.setattr(Merged, "encode", rounded)
    rows = [{CHOSEN: Row(first.processor, (photo(seed),), "What?", "A circle")} for seed in range(3)]
    with torch.no_grad():
        logps(model, rows[:1])
        once = logps(model, rows)
        with counted(model) as calls:
            again = logps(model, rows)
    assert len(calls) == 1
    assert torch.equal(once, again)


def test_a_tower_in_training_is_run_for_each_likelihood(model_of: ModelOf, rows_of: RowsOf) -> None:
    model, (first, second, *_) = model_of("llava"), rows_of("llava")
    batch = batch_of([{CHOSEN: first, REJECTED: second}])
    media_text_likelihood(model, batch, NOTHING, 512)
    before = media_text_likelihood(model, batch, NOTHING, 512).logps.detach()
    weight = model.base_model.multi_modal_projector.linear_2.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.mul_(1.5)
    assert (media_text_likelihood(model, batch, NOTHING, 512).logps - before).abs().min() > 1e-3
    with torch.no_grad():
        weight.copy_(kept)


def test_whether_the_tower_is_frozen(family: str, model_of: ModelOf) -> None:
    model = model_of(family)
    assert not tower_is_frozen(model)
    freeze_vision(model)
    assert tower_is_frozen(model)


@pytest.mark.parametrize("family", PROPERTIES)
def test_nothing_beside_a_row_changes_it(family: str, model_of: ModelOf, rows_of: RowsOf) -> None:
    """Any rows in any order, in any micro-batches."""
    model, rows = model_of(family), rows_of(family)
    with torch.no_grad():
        alone = torch.stack([row.direct_logps(model).sum() for row in rows])

    @given(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=6), st.integers(1, 6))
    @settings(max_examples=8, deadline=None)
    def check(chosen: list[int], size: int) -> None:
        parts = [chosen[start : start + size] for start in range(0, len(chosen), size)]
        with torch.no_grad():
            found = [logps(model, [{CHOSEN: rows[number]} for number in part])[:, 0] for part in parts]
        torch.testing.assert_close(torch.cat(found), alone[chosen], atol=1e-4, rtol=1e-5)

    check()


@pytest.mark.parametrize("family", PROPERTIES)
def test_roles_without_gradient(family: str, model_of: ModelOf, rows_of: RowsOf) -> None:
    """Values are the same, and gradients those of the other roles alone."""
    model, rows = model_of(family), rows_of(family)
    pairs = [{CHOSEN: rows[0], REJECTED: rows[1]}, {CHOSEN: rows[3], REJECTED: rows[2]}]
    whole = logps(model, pairs)
    partly = logps(model, pairs, Needs(no_grad_roles=frozenset({REJECTED})))
    torch.testing.assert_close(partly, whole, atol=1e-4, rtol=1e-5)
    partly.sum().backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    whole[:, 0].sum().backward()
    for name, gradient in found.items():
        expected = dict(model.named_parameters())[name].grad
        torch.testing.assert_close(gradient, expected, atol=2e-4 * max(1.0, float(expected.abs().max())), rtol=1e-3)


@pytest.mark.parametrize("family", ["qwen3_vl", "mllama"])
def test_log_probabilities_of_each_token(family: str, model_of: ModelOf, rows_of: RowsOf) -> None:
    model, rows = model_of(family), rows_of(family)
    with torch.no_grad():
        found = media_text_likelihood(
            model, batch_of([{CHOSEN: rows[0], REJECTED: rows[3]}]), Needs(token_logps=True), 512
        )
        for column, row in enumerate((rows[0], rows[3])):
            own = found.token_logps[0, column][found.token_mask[0, column]]
            torch.testing.assert_close(own, row.direct_logps(model), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["llava", "mllama"])
def test_what_misled_the_model_is_scored_under_the_own_image(family: str, model_of: ModelOf, rows_of: RowsOf) -> None:
    """POVID: v_t is the likeliest token under the other image, after the chosen response's own tokens."""
    model, (first, _, third, *_) = model_of(family), rows_of(family)
    rows = [
        {role: Row(row.processor, images, row.text, row.response) for role, images in shown.items()}
        for row, shown in (
            (first, {CHOSEN: (photo(0),), ELSEWHERE: (photo(5),)}),
            (third, {CHOSEN: third.images, ELSEWHERE: (photo(6),)}),
        )
    ]
    needs = Needs(extra=frozenset({MISLED}), no_grad_roles=frozenset({ELSEWHERE}))
    found = media_text_likelihood(model, batch_of(rows), needs, 4)
    expected = []
    for row in rows:
        tokens = row[ELSEWHERE].direct_logits(model).argmax(-1)
        expected.append(row[CHOSEN].direct_logits(model).log_softmax(-1).gather(1, tokens[:, None]).sum())
    torch.testing.assert_close(found.extra[MISLED][:, 0], torch.stack(expected), atol=1e-4, rtol=1e-5)
    assert found.extra[MISLED][:, 1].tolist() == [0, 0]
    plain = torch.stack([torch.stack([cell.direct_logps(model).sum() for cell in row.values()]) for row in rows])
    torch.testing.assert_close(found.logps, plain, atol=1e-4, rtol=1e-5)
    gradients = torch.autograd.grad(found.extra[MISLED].sum(), list(model.get_decoder().parameters()))
    wanted = torch.autograd.grad(sum(expected), list(model.get_decoder().parameters()))
    for own, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(own, other, atol=2e-4 * max(1.0, float(other.abs().max())), rtol=1e-3)


def test_misled_needs_the_cells_of_another_image(model_of: ModelOf, rows_of: RowsOf) -> None:
    needs = Needs(extra=frozenset({MISLED}))
    with pytest.raises(ConfigError, match="chosen@other_image"):
        media_text_likelihood(model_of("llava"), batch_of([{CHOSEN: rows_of("llava")[0]}]), needs, 512)


def test_corrected_tokens_are_those_of_text(model_of: ModelOf, rows_of: RowsOf) -> None:
    model, (first, *_) = model_of("llava"), rows_of("llava")
    words = ("The picture shows two circles left of a square", "The picture shows two circles right of a square")
    chosen, rejected = (Row(first.processor, first.images, first.text, response) for response in words)
    needs = Needs(extra=frozenset({"corrected_logps", "corrected_sizes"}))
    marks = differing(*(tuple(row.cell.completion.tolist()) for row in (chosen, rejected)))
    with torch.no_grad():
        found = media_text_likelihood(model, batch_of([{CHOSEN: chosen, REJECTED: rejected}]), needs, 512)
        for column, (row, mark) in enumerate(zip((chosen, rejected), marks, strict=True)):
            corrected = row.direct_logps(model)[torch.tensor(mark)]
            assert 0 < len(corrected) < len(mark)
            assert found.extra["corrected_sizes"][0, column] == len(corrected)
            torch.testing.assert_close(found.extra["corrected_logps"][0, column], corrected.sum(), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "mllama", "gemma3"])
def test_half_precision(family: str, model_of: ModelOf, rows_of: RowsOf) -> None:
    rows = [{CHOSEN: row} for row in rows_of(family)]
    model = copy.deepcopy(model_of(family)).bfloat16()
    with torch.no_grad():
        exact = logps(model_of(family), rows)
        found = logps(model, rows)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, atol=0.5, rtol=0.05)


def test_a_model_whose_features_mean_something_else_runs_row_by_row(
    model_of: ModelOf, rows_of: RowsOf, caplog: pytest.LogCaptureFixture
) -> None:
    """A forward that does more to images than `get_image_features` is noticed, and its own forward trusted."""
    model, rows = copy.deepcopy(model_of("llava")), rows_of("llava")
    base = model.base_model
    true_features = base.get_image_features

    def louder(**given: Any) -> Any:
        output = true_features(**given)
        return SimpleNamespace(pooler_output=[2 * feature for feature in output.pooler_output])

    def own_forward(*args: Any, **given: Any) -> Any:
        base.get_image_features = true_features
        try:
            return type(base).forward(base, *args, **given)
        finally:
            base.get_image_features = louder

    own_forward.__signature__ = inspect.signature(base.forward)  # type: ignore[attr-defined]
    base.get_image_features, base.forward = louder, own_forward
    with torch.no_grad(), caplog.at_level(logging.WARNING):
        found = [logps(model, [{CHOSEN: row} for row in rows])[:, 0] for _ in range(2)]
        expected = torch.stack([row.direct_logps(model).sum() for row in rows])
    for each in found:
        torch.testing.assert_close(each, expected, atol=1e-4, rtol=1e-5)
    assert sum("encoded again" in record.message for record in caplog.records) == 1
