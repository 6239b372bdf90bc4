"""What a model finds of responses to sounds is what transformers finds of each alone; a sound is encoded once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modalign.core.batch import CHOSEN, OTHER_AUDIO, REJECTED, Comparison, under
from modalign.core.errors import ConfigError
from modalign.core.objectives.base import Needs
from modalign.modalities.audio.language.modality import AudioLanguage
from modalign.modalities.lora import Lora
from modalign.modalities.vision_language.likelihood import MISLED
from modalign.modalities.vision_language.pathways import Embedded
from modalign.modalities.vision_language.sounds import check_places
from modalign.modalities.vision_language.towers import pathway_of

from .rows import batch_of, clip, comparison, direct_logps, moved

ModalityOf = Callable[..., AudioLanguage]
NOTHING = Needs()


def rows_of(family: str) -> list[Comparison]:
    """Two with one sound, one with another, one with none; one with two sounds, where the processor takes that."""
    one, other = clip(0), clip(5)
    rows = [
        comparison([one]),
        comparison([one], "Which sound is it, then?", "noise", "a tone"),
        comparison([other], rejected="A picture."),
        comparison([], "Say a colour."),
    ]
    both = comparison([one, other], "Is <audio> like <audio>?")
    return [*rows, both] if family == "qwen2_audio" else rows


def expected(modality: AudioLanguage, model: Any, rows: list[Comparison]) -> torch.Tensor:
    return torch.stack(
        [
            torch.stack(
                [
                    direct_logps(modality, model, row.prompt, row.candidate(role).response[0]["content"]).sum()
                    for role in (CHOSEN, REJECTED)
                ]
            )
            for row in rows
        ]
    )


@contextmanager
def calls_of(module: torch.nn.Module) -> Iterator[list[tuple[int, ...]]]:
    """A list that grows with the shape of what each call of a module returns."""
    calls: list[tuple[int, ...]] = []

    def note(_module: Any, _given: Any, output: Any) -> None:
        calls.append(tuple((output if isinstance(output, torch.Tensor) else output[0]).shape))

    handle = module.register_forward_hook(note)
    try:
        yield calls
    finally:
        handle.remove()


def test_log_probabilities_are_those_of_a_forward_of_each_row_alone(
    modality_of: ModalityOf, loaded: Callable[[str], Any], family: str
) -> None:
    modality, model, rows = modality_of(family), loaded(family), rows_of(family)
    batch = batch_of(modality, rows)
    found = modality.likelihood(model, batch, Needs(token_logps=True))
    assert isinstance(pathway_of(model, batch.inputs), Embedded)
    with torch.no_grad():
        torch.testing.assert_close(found.logps, expected(modality, model, rows), atol=1e-4, rtol=1e-5)
        tokens = direct_logps(modality, model, rows[0].prompt, "A rising tone")
    assert found.token_logps is not None
    assert found.token_mask is not None
    torch.testing.assert_close(found.token_logps[0, 0][found.token_mask[0, 0]], tokens, atol=1e-4, rtol=1e-5)


def test_the_sound_decides(modality_of: ModalityOf, loaded: Callable[[str], Any], family: str) -> None:
    """Or nothing above would be a test."""
    modality = modality_of(family)
    batch = batch_of(modality, [comparison([clip(0)]), comparison([clip(7)])])
    logps = modality.likelihood(loaded(family), batch, NOTHING).logps
    assert (logps[0] - logps[1]).abs().min() > 1e-3


@pytest.mark.parametrize("train_audio", [False, True])
def test_gradients_are_those_of_a_forward_of_each_row_alone(
    modality_of: ModalityOf, family: str, train_audio: bool
) -> None:
    modality, rows = modality_of(family, train_audio=train_audio), rows_of(family)[1:3]
    model = modality.load()
    modality.likelihood(model, batch_of(modality, rows), NOTHING).logps.sum().backward()
    found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    expected(modality, model, rows).sum().backward()
    wanted = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    assert found.keys() == wanted.keys()
    assert any("audio_tower" in name for name in found) == train_audio
    for name, gradient in wanted.items():
        torch.testing.assert_close(
            found[name], gradient, atol=2e-3, rtol=2e-4, msg=lambda told, name=name: f"{name}: {told}"
        )


def test_each_sound_is_encoded_once_and_logits_are_made_for_responses_alone(
    modality_of: ModalityOf, loaded: Callable[[str], Any], family: str
) -> None:
    modality, model, rows = modality_of(family), loaded(family), rows_of(family)[:3]
    modality.likelihood(model, batch_of(modality, rows), NOTHING)  # checks the model's pathway
    batch = batch_of(modality, rows)
    with calls_of(model.model.audio_tower) as tower, calls_of(model.lm_head) as head, torch.no_grad():
        modality.likelihood(model, batch, NOTHING)
        modality.likelihood(model, batch, NOTHING)  # as a reference would that is the same model
    assert [shape[0] for shape in tower] == [2]  # six cells, two sounds
    assert sum(shape[:-1][-1] for shape in head) == 2 * int(batch.sizes.sum())


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_neither_padding_nor_order_nor_company_decides(
    data: st.DataObject, modality_of: ModalityOf, loaded: Callable[[str], Any]
) -> None:
    modality, model = modality_of(), loaded("qwen2_audio")
    sizes = st.tuples(st.integers(0, 2), st.integers(0, 7), st.integers(0, 3))
    drawn = data.draw(st.lists(sizes, min_size=2, max_size=4))
    rows = [
        comparison([clip(first + place) for place in range(count)], "What?" * (1 + words), "tone " * (1 + words))
        for count, first, words in drawn
    ]
    order = data.draw(st.permutations(range(len(rows))))
    with torch.no_grad():
        together = modality.likelihood(model, batch_of(modality, rows), NOTHING).logps
        turned = modality.likelihood(model, batch_of(modality, [rows[n] for n in order]), NOTHING).logps
        alone = torch.cat([modality.likelihood(model, batch_of(modality, [row]), NOTHING).logps for row in rows])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(turned, together[list(order)], atol=1e-4, rtol=1e-5)


def test_a_policy_without_its_adapter_is_as_it_was_loaded(modality_of: ModalityOf) -> None:
    modality, rows = modality_of(lora=Lora(r=2)), rows_of("qwen2_audio")
    policy = moved(modality.load())
    assert not any("audio_tower" in name for name, weight in policy.named_parameters() if weight.requires_grad)
    batch = batch_of(modality, rows)
    found = modality.likelihood(policy, batch, NOTHING).logps
    with modality.adapter_off(policy), torch.no_grad():
        reference = modality.likelihood(policy, batch, NOTHING).logps
    untouched = modality_of().load()
    torch.testing.assert_close(reference, modality.likelihood(untouched, batch, NOTHING).logps, atol=1e-4, rtol=1e-5)
    assert (found - reference).abs().max() > 1e-2


def test_what_misleads_is_read_under_the_other_sound(modality_of: ModalityOf, loaded: Callable[[str], Any]) -> None:
    modality, model = modality_of(), loaded("qwen2_audio")
    role = under(CHOSEN, OTHER_AUDIO)
    row = comparison([clip(0)], other_audios=(clip(6),))
    row = Comparison(row.prompt, (*row.candidates, modality.extra_candidate(row, role, None)))
    needs = Needs(extra=frozenset({MISLED}), no_grad_roles=frozenset({role}))
    batch = batch_of(modality, [row])
    with torch.no_grad():
        found = modality.likelihood(model, batch, needs).extra[MISLED][0, batch.column(CHOSEN)]
        cells = modality.encode(row).cells
        likeliest = _logits(model, cells[2]).argmax(-1)
        wanted = _logits(model, cells[0]).log_softmax(-1).gather(1, likeliest[:, None]).sum()
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-5)


def _logits(model: Any, cell: Any) -> torch.Tensor:
    ids = torch.cat([cell.prompt, cell.completion]).long()[None]
    out: torch.Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids), **cell.media).logits[0]
    return out[-len(cell.completion) - 1 : -1]


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_other_widths(modality_of: ModalityOf, family: str, dtype: Any) -> None:
    """Spectra are float32, whatever the weights are."""
    modality = modality_of(family, dtype=dtype)
    batch = batch_of(modality, rows_of(family)[:3])
    found = modality.likelihood(modality.load(), batch, NOTHING).logps.double()
    wide = modality_of(family)
    reference = wide.likelihood(wide.load(), batch, NOTHING).logps.double()
    torch.testing.assert_close(found, reference, atol=2.0 if dtype == "bfloat16" else 1e-3, rtol=0.05)


def test_features_that_do_not_fill_their_places_are_refused(
    modality_of: ModalityOf, loaded: Callable[[str], Any]
) -> None:
    modality, model = modality_of(), loaded("qwen2_audio")
    batch = batch_of(modality, rows_of("qwen2_audio")[:1])
    modality.likelihood(model, batch, NOTHING)
    batch = batch_of(modality, rows_of("qwen2_audio")[:1])
    batch.inputs["media"][0]["feature_attention_mask"][:, 10:] = 0
    with pytest.raises(ConfigError, match=r"makes 2 features of a prompt's sounds, and the processor leaves 6 places"):
        modality.likelihood(model, batch, NOTHING)
    with pytest.raises(ConfigError, match="makes 0 features"):
        check_places(0, 3)
