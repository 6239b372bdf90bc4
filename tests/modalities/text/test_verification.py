"""The checks made at a model's first use: they must hold where they should, and fail where they should."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from modalign.core.batch import PreferenceBatch
from modalign.core.errors import ConfigError
from modalign.core.objectives.base import Needs
from modalign.modalities.text import verification
from modalign.modalities.text.collation import LAYOUTS
from modalign.modalities.text.modality import Text
from modalign.modalities.text.verification import check_layout, head_is_known

from .conftest import FAMILIES, PAIRS, VOCABULARY
from .test_logprobs import own_logps

MakeText = Callable[..., Text]


def batch_of(modality: Text) -> PreferenceBatch:
    return modality.collate([modality.encode(comparison) for comparison in PAIRS], range(len(PAIRS)))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_known_families_pass(text: MakeText, family: str) -> None:
    model = text(family).load()
    assert head_is_known(model)
    for layout in LAYOUTS:
        check_layout(model, batch_of(text(family, layout=layout)).inputs)
    assert model.training


def bend_logits(model: Any, bend: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the model's own forward change its logits in a way nobody told us of."""
    forward = model.forward

    def bent(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        output.logits = bend(output.logits)
        return output

    monkeypatch.setattr(model, "forward", bent)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bend", [lambda x: 30 * torch.tanh(x / 30), lambda x: x * 1.5], ids=["cap", "scale"])
def test_unknown_logits_come_from_the_full_forward(
    text: MakeText, bend: Any, layout: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    modality = text("llama", layout=layout)
    model: Any = modality.load()
    bend_logits(model, bend, monkeypatch)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            found = modality.likelihood(model, batch_of(modality), Needs()).logps
    assert not head_is_known(model)
    assert [record.message for record in caplog.records if "full forward" in record.message] == [
        "The logits of LlamaForCausalLM are not a plain function of its hidden states: log-probabilities are computed "
        "from its full forward, which needs more memory"
    ]
    expected = own_logps(model, [modality.encode(comparison) for comparison in PAIRS])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-6)
    assert found.requires_grad


def test_a_model_that_ignores_logits_to_keep_is_indexed_right(text: MakeText, monkeypatch: pytest.MonkeyPatch) -> None:
    modality = text("gpt2")
    model: Any = modality.load()
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *args, logits_to_keep=0, **kwargs: forward(*args, **kwargs))
    monkeypatch.setattr("modalign.modalities.text.logprobs.head_is_known", lambda causal: False)
    found = modality.likelihood(model, batch_of(modality), Needs()).logps
    expected = own_logps(model, [modality.encode(comparison) for comparison in PAIRS])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("layout", ["packed", "shared_prompt"])
def test_models_that_cannot_tell_sequences_apart_are_refused(text: MakeText, layout: Any) -> None:
    from transformers import BloomConfig, BloomForCausalLM, MambaConfig, MambaForCausalLM

    bloom = BloomForCausalLM(BloomConfig(vocab_size=VOCABULARY, hidden_size=16, n_layer=2, n_head=2))
    mamba = MambaForCausalLM(MambaConfig(vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, state_size=4))
    modality = text("llama", layout=layout)
    for model in (bloom, mamba):
        with pytest.raises(ConfigError, match=r"modality\.layout: \w+ForCausalLM (cannot run|has layers)"):
            modality.likelihood(model, batch_of(modality), Needs())


def test_models_without_positions_work_padded(text: MakeText) -> None:
    from transformers import BloomConfig, BloomForCausalLM

    torch.manual_seed(0)
    modality = text("llama")
    model = BloomForCausalLM(BloomConfig(vocab_size=VOCABULARY, hidden_size=16, n_layer=2, n_head=2)).eval()
    found = modality.likelihood(model, batch_of(modality), Needs()).logps
    expected = own_logps(model, [modality.encode(comparison) for comparison in PAIRS])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-6)


def test_a_model_is_checked_once_and_forgotten_with_it(text: MakeText, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(verification, "_head_agrees", lambda causal: calls.append(causal) or True)
    model: Any = text().load()
    assert head_is_known(model)
    assert head_is_known(model)
    assert len(calls) == 1
    known = len(verification._known_heads)
    calls.clear()
    del model
    assert len(verification._known_heads) < known
