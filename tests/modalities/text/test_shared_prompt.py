"""Completions that share their prompt's computation get the log-probabilities and gradients they get alone."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from modalign.core.batch import CHOSEN, MISMATCHED, REJECTED, Candidate, Comparison, PreferenceBatch
from modalign.core.errors import ConfigError, UserError
from modalign.core.objectives.base import Needs
from modalign.modalities.lora import Lora
from modalign.modalities.text import attention_masks, verification
from modalign.modalities.text.attention_masks import shared_prompt_masks
from modalign.modalities.text.collation import LAYOUTS, Layout
from modalign.modalities.text.modality import Text

from .conftest import FAMILIES, VOCABULARY

MakeText = Callable[..., Text]

LONG = "The cat number 3 sat on the mat and said: go 3! The dog number 12 sat on the mat and said: go 12! " * 3
COMPARISONS = [
    Comparison(LONG, tuple(Candidate(f" The dog said: go {n}!" * (1 + n % 3)) for n in range(4))),
    Comparison("cat", (Candidate(" sat"), Candidate(" said", context="The dog"), Candidate(" on the mat"))),
    Comparison(LONG, (Candidate(" go 7!"),)),
]
SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 2,
}


def batch_of(modality: Text, comparisons: Sequence[Comparison] = COMPARISONS) -> PreferenceBatch:
    return modality.collate([modality.encode(c) for c in comparisons], range(len(comparisons)))


def logps_and_gradients(
    modality: Text, model: nn.Module, needs: Needs | None = None, comparisons: Sequence[Comparison] = COMPARISONS
) -> dict[str, torch.Tensor]:
    batch = batch_of(modality, comparisons)
    model.zero_grad()
    logps = modality.likelihood(model, batch, needs or Needs()).logps
    (logps * torch.arange(1.0, 1.0 + logps.numel()).view_as(logps).sin()).sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {"logps": logps.detach(), **gradients}


def assert_same(
    found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], logps: float, gradients: float
) -> None:
    """Equal up to absolute differences in the log-probabilities, and relative ones in the gradients."""
    assert found.keys() == expected.keys()
    largest = max(value.abs().max().item() for name, value in expected.items() if name != "logps")
    assert largest > 0.1
    torch.testing.assert_close(found["logps"], expected["logps"], atol=logps, rtol=0)
    for name in expected.keys() - {"logps"}:
        torch.testing.assert_close(
            found[name], expected[name], atol=gradients * largest, rtol=0, msg=lambda m, name=name: f"{name}: {m}"
        )


@pytest.mark.parametrize(
    ("family", "attention"),
    [(family, kind) for family in FAMILIES for kind in ("sdpa", "eager") if (family, kind) != ("gemma2", "sdpa")],
)
def test_as_padded(text: MakeText, family: str, attention: str) -> None:
    other: Layout = "padded"
    if family == "gemma2":
        # Padding beyond every token's window has nothing to look at, which in eager attention in float64 gives NaN.
        other = "packed"
    alone = text(family, dtype="float64", attn_implementation=attention, layout=other)
    shared = text(family, dtype="float64", attn_implementation=attention, layout="shared_prompt")
    assert batch_of(shared).inputs["input_ids"].shape[1] > 128, "rows are longer than the model's positions"
    model = alone.load()
    # Norms round to float32 inside, whatever the weights' dtype: equal values alike, but a prompt's gradient is rounded
    # once where it was once a completion. GPT-2's do not. Nor does its softmax, and every other eager one.
    exact = family == "gpt2"
    assert_same(
        logps_and_gradients(shared, model),
        logps_and_gradients(alone, model),
        logps=1e-10 if exact or attention == "sdpa" else 1e-5,
        gradients=1e-10 if exact else 1e-5,
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_as_padded_in_float32(text: MakeText, family: str) -> None:
    padded, shared = text(family), text(family, layout="shared_prompt")
    model = padded.load()
    # Sums of up to 30 log-probabilities of about 5.7.
    assert_same(logps_and_gradients(shared, model), logps_and_gradients(padded, model), logps=2e-4, gradients=1e-5)


def sliding(family: str) -> Any:
    import transformers

    match family:
        case "mistral":
            config = transformers.MistralConfig(**SMALL, sliding_window=8)
            return transformers.MistralForCausalLM(config)
        case "qwen3":
            config = transformers.Qwen3Config(**SMALL, use_sliding_window=True, sliding_window=8, max_window_layers=1)
            return transformers.Qwen3ForCausalLM(config)
        case "gemma3":
            config = transformers.Gemma3TextConfig(
                **SMALL, sliding_window=8, layer_types=["sliding_attention", "full_attention"]
            )
            return transformers.Gemma3ForCausalLM(config)
    raise ValueError(family)


@pytest.mark.parametrize("family", ["mistral", "qwen3", "gemma3"])
def test_windows_count_positions(text: MakeText, family: str) -> None:
    torch.manual_seed(0)
    model = sliding(family).double()
    padded, shared = text(), text(layout="shared_prompt")
    expected = logps_and_gradients(padded, model)
    assert_same(logps_and_gradients(shared, model), expected, logps=1e-10, gradients=1e-5)
    model.config.sliding_window = 1000
    assert (logps_and_gradients(padded, model)["logps"] - expected["logps"]).abs().max() > 1e-3, "the window matters"


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_checkpointing_and_lora(text: MakeText, family: str, layout: Layout) -> None:
    lora = Lora(r=4, init="gaussian")
    plain = text(family, lora=lora)
    torch.manual_seed(1)
    model = plain.load()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    checkpointed = text(family, lora=lora, gradient_checkpointing=True, layout=layout)
    other = checkpointed.load()
    other.load_state_dict(model.state_dict())
    expected = logps_and_gradients(plain, model)
    assert_same(logps_and_gradients(checkpointed, other), expected, logps=2e-4, gradients=5e-5)


@pytest.mark.parametrize(
    ("family", "attention"), [("llama", "sdpa"), ("llama", "eager"), ("gpt2", "sdpa"), ("gemma2", "eager")]
)
def test_bfloat16(text: MakeText, family: str, attention: str) -> None:
    modality = text(family, attn_implementation=attention, layout="shared_prompt")
    model = modality.load()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = logps_and_gradients(modality, model)
    exact = logps_and_gradients(modality, model)
    half = text(family, attn_implementation=attention, layout="shared_prompt", dtype="bfloat16")
    low = logps_and_gradients(half, half.load())
    for found in (mixed, low):
        assert found["logps"].dtype == torch.float32
        torch.testing.assert_close(found["logps"], exact["logps"], atol=0.3, rtol=0)
        largest = max(exact, key=lambda name: -1.0 if name == "logps" else exact[name].norm().item())
        assert (found[largest] - exact[largest]).norm() < 0.05 * exact[largest].norm()


def test_roles_without_gradient(text: MakeText) -> None:
    comparisons = [
        Comparison(LONG, (Candidate(" sat", CHOSEN), Candidate(" said: no", MISMATCHED), Candidate(" go", REJECTED))),
        Comparison("The", (Candidate(" dog", CHOSEN), Candidate(" cat", REJECTED))),
    ]
    padded, shared = text(dtype="float64"), text(dtype="float64", layout="shared_prompt")
    model = padded.load()
    needs = Needs(no_grad_roles=frozenset({MISMATCHED}))
    assert_same(
        logps_and_gradients(shared, model, needs, comparisons),
        logps_and_gradients(padded, model, needs, comparisons),
        logps=1e-10,
        gradients=1e-5,
    )


def test_full_forwards_of_unknown_heads(text: MakeText, monkeypatch: pytest.MonkeyPatch) -> None:
    padded, shared = text(dtype="float64"), text(dtype="float64", layout="shared_prompt")
    model = padded.load()
    expected = logps_and_gradients(padded, model)
    for module in ("logprobs", "verification"):
        monkeypatch.setattr(f"modalign.modalities.text.{module}.head_is_known", lambda causal: False)
    assert_same(logps_and_gradients(shared, model), expected, logps=1e-10, gradients=1e-5)


def without_window(causal: Any, owners: torch.Tensor, positions: torch.Tensor) -> Any:
    return shared_prompt_masks(causal, owners, positions)["full_attention"]


def window_of_places(causal: Any, owners: torch.Tensor, positions: torch.Tensor) -> Any:
    return shared_prompt_masks(causal, owners, torch.arange(owners.shape[1]).expand_as(owners))


def merely_causal(causal: Any, owners: torch.Tensor, positions: torch.Tensor) -> Any:
    return shared_prompt_masks(causal, torch.zeros_like(owners), positions)


@pytest.mark.parametrize(
    ("family", "wrong"),
    [
        ("llama", merely_causal),
        ("gpt2", merely_causal),
        ("gemma2", merely_causal),
        ("gemma2", without_window),
        ("gemma2", window_of_places),
    ],
)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_models_that_see_too_much_or_too_little_are_refused(
    text: MakeText, family: str, wrong: Any, precision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the model did with our mask what we do not expect; also where its window is wider than any row."""
    modality = text(family, layout="shared_prompt", dtype=precision)
    model: Any = modality.load()
    if family == "gemma2":
        model.config.sliding_window = 4096
    monkeypatch.setattr(attention_masks, "shared_prompt_masks", wrong)
    with pytest.raises(ConfigError, match="cannot run shared_prompt rows: its sequences see each other, or too little"):
        modality.likelihood(model, batch_of(modality), Needs())
    assert getattr(model.config, "sliding_window", 4096) == 4096


@pytest.mark.parametrize(("window", "positions", "reason"), [(8, 1024, "too little"), (128, 128, "RuntimeError")])
def test_layers_and_buffers_of_fixed_width_are_refused(
    text: MakeText, window: int, positions: int, reason: str
) -> None:
    """GPT-Neo's local layers count places in the row, and its masks end where its positions do."""
    from transformers import GPTNeoConfig, GPTNeoForCausalLM

    config = GPTNeoConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_layers=2,
        num_heads=2,
        attention_types=[[["global", "local"], 1]],
        window_size=window,
        max_position_embeddings=positions,
        bos_token_id=None,
        eos_token_id=2,
    )
    modality = text(layout="shared_prompt")
    with pytest.raises(ConfigError, match=f"GPTNeoForCausalLM cannot run shared_prompt rows.*{reason}"):
        modality.likelihood(GPTNeoForCausalLM(config), batch_of(modality), Needs())


def test_layers_of_other_kinds_are_refused(text: MakeText) -> None:
    modality = text("llama", layout="shared_prompt")
    model: Any = modality.load()
    model.config.layer_types = ["full_attention", "chunked_attention"]
    with pytest.raises(ConfigError, match="layers of chunked_attention, in which completions cannot share a prompt"):
        modality.likelihood(model, batch_of(modality), Needs())


def test_wider_rows_are_checked_again(text: MakeText, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[int] = []
    monkeypatch.setattr(
        verification, "_disagreement", lambda causal, layout, length, sequences: checked.append(length * sequences)
    )
    modality = text(layout="shared_prompt")
    model = modality.load()
    for comparisons in (COMPARISONS[1:2], COMPARISONS[2:], COMPARISONS, COMPARISONS[1:], COMPARISONS):
        modality.likelihood(model, batch_of(modality, comparisons), Needs())
    assert checked == [128, 256]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "shared_prompt", "attn_implementation": "flash_attention_2"}, "flash_attention_2 has no mask for"),
        ({"layout": "shared"}, "did you mean 'shared_prompt'"),
    ],
)
def test_options_that_do_not_fit(text: MakeText, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        text(**options)
