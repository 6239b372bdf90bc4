"""Log-probabilities against transformers' own full logits, and what must not change them."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from modalign.core.batch import Candidate, Comparison, Example, PreferenceBatch
from modalign.core.errors import ConfigError
from modalign.core.objectives.base import Needs
from modalign.modalities.text.collation import LAYOUTS
from modalign.modalities.text.encoding import TextCell
from modalign.modalities.text.modality import Text

from .conftest import FAMILIES, PAIRS, VOCABULARY

MakeText = Callable[..., Text]


def own_logp(model: Any, cell: TextCell) -> Tensor:
    """One cell alone through the model's own forward: full logits, log-softmax, gather."""
    ids = torch.cat([cell.prompt, cell.completion]).long()[None]
    logits = model(input_ids=ids).logits[0, :-1]
    exact = logits if logits.dtype == torch.float64 else logits.float()
    logps = exact.log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
    return logps[len(cell.prompt) - 1 :]


def own_logps(model: Any, examples: Sequence[Example]) -> Tensor:
    return torch.stack([torch.stack([own_logp(model, cell).sum() for cell in e.cells]) for e in examples])


def encoded(text: Text, comparisons: Sequence[Comparison] = PAIRS) -> tuple[list[Example], PreferenceBatch]:
    examples = [text.encode(comparison) for comparison in comparisons]
    return examples, text.collate(examples, range(len(examples)))


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_logps_and_gradients_are_transformers_own(text: MakeText, family: str, layout: str) -> None:
    modality = text(family, layout=layout, chunk_size=5)
    model = modality.load()
    examples, batch = encoded(modality)
    weights = torch.tensor([[1.0, -0.5], [0.3, 2.0], [-1.0, 0.7]])

    ours = modality.likelihood(model, batch, Needs())
    our_gradients = gradients(model, (ours.logps * weights).sum())
    expected = own_logps(model, examples)
    expected_gradients = gradients(model, (expected * weights).sum())

    assert ours.logps.dtype == torch.float32
    torch.testing.assert_close(ours.logps, expected, atol=1e-5, rtol=1e-6)
    assert our_gradients.keys() == expected_gradients.keys()
    for name, gradient in expected_gradients.items():
        torch.testing.assert_close(our_gradients[name], gradient, atol=1e-5, rtol=1e-4, msg=name)


def test_sizes_count_scored_tokens_with_the_end(text: MakeText) -> None:
    modality = text()
    examples, batch = encoded(modality)
    likelihood = modality.likelihood(modality.load(), batch, Needs())
    assert likelihood.sizes.tolist() == [list(example.sizes) for example in examples]
    assert all(cell.completion[-1] == modality.tokenizer.eos_token_id for e in examples for cell in e.cells)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_token_logps_are_laid_out_cell_by_cell(text: MakeText, layout: str) -> None:
    modality = text(layout=layout, chunk_size=3)
    model = modality.load()
    examples, batch = encoded(modality)
    likelihood = modality.likelihood(model, batch, Needs(token_logps=True))
    assert likelihood.token_logps is not None
    assert likelihood.token_mask is not None
    for b, example in enumerate(examples):
        for k, cell in enumerate(example.cells):
            expected = own_logp(model, cell)
            assert likelihood.token_mask[b, k].sum() == len(expected)
            torch.testing.assert_close(
                likelihood.token_logps[b, k][likelihood.token_mask[b, k]], expected, atol=1e-5, rtol=0
            )
    torch.testing.assert_close((likelihood.token_logps * likelihood.token_mask).sum(-1), likelihood.logps)


class LargestOverVocabulary(TorchDispatchMode):
    """Records the most rows of any tensor whose last dimension is the vocabulary."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor) and tensor.ndim and tensor.shape[-1] == VOCABULARY:
                self.rows = max(self.rows, tensor.numel() // VOCABULARY)
        return result


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_more_logits_than_a_chunk_are_ever_held(text: MakeText, layout: str) -> None:
    chunk = 20  # above the hidden size: the head's transposed weight is no tensor of logits
    modality = text(layout=layout, chunk_size=chunk)
    model = modality.load()
    prompt = "The cat number 3 sat on the mat and said: go 3! " * 2
    _, batch = encoded(modality, [Comparison(prompt, (Candidate("The dog number 12 said: go 12!"),) * 6)])
    assert batch.sizes.sum() > 3 * chunk
    tokens = batch.inputs["input_ids"].numel()
    assert tokens > 7 * chunk
    with LargestOverVocabulary() as largest:
        modality.likelihood(model, batch, Needs()).logps.sum().backward()
    assert 0 < largest.rows <= chunk
    with LargestOverVocabulary() as naive:
        model(input_ids=batch.inputs["input_ids"]).logits.sum().backward()
    assert naive.rows == tokens


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cells_of_no_grad_roles_carry_no_gradient(text: MakeText, layout: str) -> None:
    modality = text(layout=layout)
    model = modality.load()
    _, batch = encoded(modality)
    whole = modality.likelihood(model, batch, Needs(token_logps=True))
    partly = modality.likelihood(model, batch, Needs(token_logps=True, no_grad_roles=frozenset({"rejected"})))
    torch.testing.assert_close(partly.logps, whole.logps, atol=1e-5, rtol=0)
    torch.testing.assert_close(partly.token_logps, whole.token_logps, atol=1e-5, rtol=0)
    expected = gradients(model, whole.logps[:, 0].sum())
    found = gradients(model, partly.logps.sum())
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-4, msg=name)
    none = modality.likelihood(model, batch, Needs(no_grad_roles=frozenset({"chosen", "rejected"})))
    assert not none.logps.requires_grad


def test_gradient_checkpointing_changes_nothing(text: MakeText) -> None:
    plain, checkpointed = text(), text(gradient_checkpointing=True)
    _, batch = encoded(plain)
    found = []
    for modality in (plain, checkpointed):
        model = modality.load()
        found.append(gradients(model, modality.likelihood(model, batch, Needs()).logps.sum()))
    assert checkpointed.load().is_activation_checkpointing
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, atol=1e-6, rtol=1e-5, msg=name)


def test_bfloat16_reduces_in_float32(text: MakeText) -> None:
    modality = text()
    model = modality.load()
    _, batch = encoded(modality)
    exact = modality.likelihood(model, batch, Needs()).logps
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = modality.likelihood(model, batch, Needs()).logps
        mixed.sum().backward()
    half = text(dtype="bfloat16")
    low = half.likelihood(half.load(), batch, Needs()).logps
    for logps in (mixed, low):
        assert logps.dtype == torch.float32
        # Summing 30 terms of about 5.7 in bfloat16 would be off by more than 0.5.
        torch.testing.assert_close(logps, exact, atol=0.2, rtol=0)


def test_unknown_quantities_are_refused(text: MakeText) -> None:
    modality = text()
    _, batch = encoded(modality)
    with pytest.raises(ConfigError, match="divergence"):
        modality.likelihood(modality.load(), batch, Needs(extra=frozenset({"divergence"})))


def test_a_sequence_longer_than_the_model_is_refused(text: MakeText) -> None:
    modality = text(max_length=None)
    model = modality.load()
    _, batch = encoded(modality, [Comparison("cat " * 200, (Candidate("a"),))])
    with pytest.raises(ConfigError, match=r"takes at most 128"):
        modality.likelihood(model, batch, Needs())


words = st.text(alphabet="abcTheo 37!", min_size=1, max_size=12)
rows = st.lists(st.tuples(words, st.lists(words, min_size=1, max_size=4)), min_size=1, max_size=5)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=rows, chunk_size=st.integers(1, 40), layout=st.sampled_from(list(LAYOUTS)), data=st.data())
def test_layout_does_not_change_logps(
    text: MakeText, exact: Any, rows: Any, chunk_size: int, layout: str, data: Any
) -> None:
    """Layout, order, chunk size and how many candidates share a row, in float64."""
    modality = text(dtype="float64", layout=layout, chunk_size=chunk_size)
    comparisons = [Comparison(prompt, tuple(map(Candidate, responses))) for prompt, responses in rows]
    order = data.draw(st.permutations(range(len(rows))))
    examples, batch = encoded(modality, [comparisons[n] for n in order])
    logps = modality.likelihood(exact, batch, Needs()).logps
    assert logps.dtype == torch.float64
    assert (logps[~batch.mask] == 0).all()
    for row, example in enumerate(examples):
        expected = torch.stack([own_logp(exact, cell).sum() for cell in example.cells])
        torch.testing.assert_close(logps[row, : len(expected)], expected, atol=1e-10, rtol=0)


@pytest.fixture(scope="module")
def exact(model_folder: Callable[[str], str]) -> Any:
    return Text(model_folder("llama"), dtype="float64", max_length=128).load()
