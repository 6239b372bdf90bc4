"""LoRA: bound to something, starting at the base model, switched off and on without a trace."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from modalign.core.batch import PreferenceBatch
from modalign.core.errors import UserError
from modalign.core.objectives.base import Needs
from modalign.modalities.lora import Lora
from modalign.modalities.text.modality import Text

from .conftest import PAIRS

MakeText = Callable[..., Text]


def batch_of(modality: Text) -> PreferenceBatch:
    return modality.collate([modality.encode(comparison) for comparison in PAIRS], range(len(PAIRS)))


def disturb(model: nn.Module) -> None:
    """Move every trainable parameter, as training would."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))


def trainable(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


OPTIONS = [
    Lora(r=4),
    Lora(r=4, target_modules=["q_proj", "v_proj"], init="gaussian", use_rslora=True),
    Lora(r=4, target_modules=r".*layers\.1\..*down_proj"),
    Lora(r=4, modules_to_save=["lm_head"]),
    Lora(r=4, modules_to_save=["embed_tokens"]),
]
HEAD = Lora(r=4, target_modules=["q_proj", "lm_head"])
CASES = [("llama", lora) for lora in [*OPTIONS, HEAD]] + [("qwen3", lora) for lora in OPTIONS]
"""With the output head and the embeddings apart, and tied."""


def case_name(value: object) -> str:
    return f"{value.target_modules}-{value.modules_to_save}" if isinstance(value, Lora) else str(value)


@pytest.mark.parametrize(("family", "lora"), CASES, ids=case_name)
def test_adapter_off_is_the_base_model(text: MakeText, family: str, lora: Lora) -> None:
    base, modality = text(family), text(family, lora=lora)
    batch = batch_of(base)
    expected = base.likelihood(base.load(), batch, Needs()).logps
    policy = modality.load()
    torch.testing.assert_close(modality.likelihood(policy, batch, Needs()).logps, expected, atol=1e-6, rtol=0)

    disturb(policy)
    before, names = modality.likelihood(policy, batch, Needs()).logps, trainable(policy)
    assert (before - expected).abs().max() > 1e-3
    with modality.adapter_off(policy), torch.no_grad():
        assert not policy.training
        assert torch.equal(modality.likelihood(policy, batch, Needs()).logps, expected)
    assert torch.equal(modality.likelihood(policy, batch, Needs()).logps, before)
    assert trainable(policy) == names
    assert policy.training


def test_adapter_off_keeps_modes_and_frozen_parameters_after_an_error(text: MakeText) -> None:
    modality = text(lora=Lora(r=4))
    policy: Any = modality.load()
    frozen = next(parameter for name, parameter in policy.named_parameters() if "lora_A" in name)
    frozen.requires_grad_(False)
    policy.base_model.model.model.norm.eval()
    names, modes = trainable(policy), [module.training for module in policy.modules()]
    with pytest.raises(ZeroDivisionError), modality.adapter_off(policy):
        raise ZeroDivisionError
    assert trainable(policy) == names
    assert [module.training for module in policy.modules()] == modes


def test_the_policys_gradient_survives_a_reference_pass_in_between(text: MakeText) -> None:
    modality = text(lora=Lora(r=4), gradient_checkpointing=True)
    policy = modality.load()
    disturb(policy)
    batch = batch_of(modality)
    found = []
    for reference in (False, True):
        policy.zero_grad()
        logps = modality.likelihood(policy, batch, Needs()).logps
        if reference:
            with modality.adapter_off(policy), torch.no_grad():
                modality.likelihood(policy, batch, Needs())
        logps.sum().backward()
        found.append([p.grad.clone() for p in policy.parameters() if p.requires_grad and p.grad is not None])
    assert len(found[0]) == len(trainable(policy))
    assert all(torch.equal(first, second) for first, second in zip(*found, strict=True))


def test_lora_dropout_acts_in_training_and_not_for_the_reference(text: MakeText) -> None:
    modality = text(
        lora=Lora(r=4, dropout=0.5, target_modules=["q_proj", "lm_head"]), disable_dropout=False, chunk_size=4
    )
    policy = modality.load()
    disturb(policy)
    batch = batch_of(modality)
    first, second = (modality.likelihood(policy, batch, Needs()).logps for _ in range(2))
    assert not torch.equal(first, second)
    with modality.adapter_off(policy), torch.no_grad():
        again = [modality.likelihood(policy, batch, Needs()).logps for _ in range(2)]
    assert torch.equal(*again)


def test_dropout_on_the_head_is_the_same_when_a_chunk_is_recomputed(text: MakeText) -> None:
    modality = text(lora=Lora(r=4, dropout=0.5, target_modules=["lm_head"]), disable_dropout=False, chunk_size=4)
    policy: Any = modality.load().double()
    disturb(policy)
    batch = batch_of(modality)
    weight = policy.get_base_model().lm_head.lora_B["default"].weight

    def loss() -> torch.Tensor:
        torch.manual_seed(5)
        return modality.likelihood(policy, batch, Needs()).logps.sum()

    loss().backward()
    step = 1e-5 * torch.randn(weight.shape, dtype=weight.dtype, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        weight.add_(step)
        above = loss()
        weight.sub_(2 * step)
        below = loss()
    torch.testing.assert_close((above - below) / 2, (weight.grad * step).sum(), rtol=1e-5, atol=0)


def test_gpt2s_transposed_layers_are_adapted(text: MakeText) -> None:
    policy = text("gpt2", lora=Lora(r=2)).load()
    assert len(trainable(policy)) == 2 * 2 * 4  # two factors, two layers, four linear layers in each


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        ({"target_modules": ["q_prj"]}, "no module of LlamaForCausalLM is called 'q_prj'.*'q_proj'"),
        ({"target_modules": ["q_proj", "wq"]}, "no module of LlamaForCausalLM is called 'wq'"),
        ({"target_modules": "q_proj"}, "fits the full name of no module"),
        ({"target_modules": "q_proj("}, "not a regular expression"),
        ({"target_modules": []}, "target_modules is empty"),
        ({"target_modules": ["norm"]}, "cannot be adapted"),
        ({"modules_to_save": ["lm_heads"]}, "no module of LlamaForCausalLM is called 'lm_heads'.*'lm_head'"),
        ({"r": 0}, "lora.r is 0"),
        ({"alpha": -1.0}, "lora.alpha"),
        ({"dropout": 1.5}, "lora.dropout"),
        ({"dropout": 0.1}, "disable_dropout"),
    ],
)
def test_mistakes_are_refused(text: MakeText, lora: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=rf"(?s){message}"):
        text(lora=Lora(**lora)).load()


@pytest.mark.parametrize("targets", [["lm_head"], ["embed_tokens"], r".*(q_proj|lm_head)"], ids=str)
def test_tied_weights_have_no_adapter_of_their_own(text: MakeText, targets: Any) -> None:
    with pytest.raises(UserError, match="shares its weights with another module"):
        text("qwen3", lora=Lora(target_modules=targets)).load()


def test_a_frozen_copy_of_the_policy_can_be_made(text: MakeText) -> None:
    modality = text("qwen3", lora=Lora(modules_to_save=["embed_tokens"]), gradient_checkpointing=True)
    policy = modality.load()
    frozen = copy.deepcopy(policy).requires_grad_(False).eval()
    batch = batch_of(modality)
    assert torch.equal(
        modality.likelihood(frozen, batch, Needs()).logps, modality.likelihood(policy, batch, Needs()).logps
    )


def test_quantisation_is_refused_where_it_cannot_work(text: MakeText) -> None:
    with pytest.raises(UserError, match=r"modality\.lora"):
        text(quantization="4bit")
    pytest.importorskip("peft")
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match="pip install bitsandbytes"):
            text(quantization="4bit", lora=Lora()).load()


def test_no_adapter_no_switch(text: MakeText) -> None:
    modality = text()
    policy = modality.load()
    assert not modality.has_adapter(policy)
    with pytest.raises(UserError, match="no adapter"):
        modality.adapter_off(policy)
    assert text(lora=Lora()).has_adapter(text(lora=Lora()).load())
