"""LoRA on denoisers: bound where it should be, starting at the base model, switched off without a trace."""

import copy
import logging
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from modalign.core.errors import UserError
from modalign.core.objectives.base import Needs
from modalign.core.objectives.pairwise import Dpo
from modalign.core.reference import AdapterReference, ReferenceContext
from modalign.modalities.image.modality import Image
from modalign.modalities.lora import Lora
from tests.modalities.image.pictures import PIPELINES, batch_of, disturb, trainable

MakeImage = Callable[..., Image]
BOUND = {
    "stable_diffusion": 4 * 2 * 4,  # attention to itself and to the text, in 4 blocks, 4 projections each
    "stable_diffusion_xl": 4 * 2 * 4,
    "stable_diffusion_3": 8 + 4 + 3,  # joint attention; again to itself; the last block writes no text
    "flux": 8 + 3,  # a double block, and a single block without an output projection of its own
}


@pytest.mark.parametrize("name", PIPELINES)
def test_the_familys_own_targets_are_bound_and_counted(
    image: MakeImage, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    with caplog.at_level(logging.INFO, logger="modalign"):
        policy: Any = image(name, lora=Lora(r=2)).load()
    assert len(trainable(policy)) == 2 * BOUND[name]
    assert all("lora_" in parameter for parameter in trainable(policy))
    count = sum(p.numel() for p in policy.parameters() if p.requires_grad)
    assert f"LoRA adapts {BOUND[name]} modules with {count} trainable parameters" in caplog.text


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("init", ["kaiming", "gaussian"])
def test_adapter_off_is_the_base_model(image: MakeImage, name: str, init: Any) -> None:
    base, modality = image(name), image(name, lora=Lora(r=4, init=init))
    batch = batch_of(base)
    with torch.no_grad():
        expected = base.likelihood(base.load(), batch, Needs()).logps
        policy = modality.load()
        assert torch.equal(modality.likelihood(policy, batch, Needs()).logps, expected)
        disturb(policy)
        before, names = modality.likelihood(policy, batch, Needs()).logps, trainable(policy)
        assert (before - expected).abs().max() > 1e-4
        with modality.adapter_off(policy):
            assert not policy.training
            assert torch.equal(modality.likelihood(policy, batch, Needs()).logps, expected)
        assert torch.equal(modality.likelihood(policy, batch, Needs()).logps, before)
    assert trainable(policy) == names
    assert policy.training


@pytest.mark.parametrize("name", PIPELINES)
def test_dpo_starts_at_ln_2_exactly(image: MakeImage, name: str) -> None:
    modality, objective = image(name, lora=Lora(r=4)), Dpo(beta=2500.0)
    policy, batch, reference = modality.load(), batch_of(modality), AdapterReference()
    reference.prepare(ReferenceContext(modality, policy))
    known = reference.likelihood(modality, policy, batch, objective.needs)
    output = objective(modality.likelihood(policy, batch, objective.needs), known, batch)
    assert output.terms[0].values.tolist() == pytest.approx([math.log(2)] * 2, rel=0, abs=1e-7)
    output.terms[0].values.sum().backward()
    second = [p.grad for n, p in policy.named_parameters() if "lora_B" in n and p.grad is not None]
    assert any(gradient.abs().max() > 0 for gradient in second)


def test_an_error_leaves_the_adapter_on_and_everything_as_it_was(image: MakeImage) -> None:
    modality = image(lora=Lora(r=2))
    policy: Any = modality.load()
    disturb(policy)
    next(p for n, p in policy.named_parameters() if "lora_A" in n).requires_grad_(False)
    policy.get_base_model().mid_block.eval()
    names, modes = trainable(policy), [module.training for module in policy.modules()]
    batch = batch_of(modality)
    before = modality.likelihood(policy, batch, Needs()).logps
    with pytest.raises(ZeroDivisionError), modality.adapter_off(policy):
        raise ZeroDivisionError
    assert trainable(policy) == names
    assert [module.training for module in policy.modules()] == modes
    assert torch.equal(modality.likelihood(policy, batch, Needs()).logps, before)


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("lora", [None, Lora(r=2)], ids=["full", "lora"])
def test_gradient_checkpointing_gives_the_same_gradients(image: MakeImage, name: str, lora: Lora | None) -> None:
    found = []
    for checkpointing in (False, True):
        modality = image(name, lora=lora, gradient_checkpointing=checkpointing)
        torch.manual_seed(0)
        policy: Any = modality.load()
        assert policy.is_gradient_checkpointing == checkpointing
        disturb(policy)
        modality.likelihood(policy, batch_of(modality), Needs()).logps.sum().backward()
        found.append({n: p.grad for n, p in policy.named_parameters() if p.requires_grad and p.grad is not None})
    assert found[0].keys() == found[1].keys()
    assert len(found[0]) > 10
    assert all(torch.equal(gradient, found[1][name]) for name, gradient in found[0].items())


def test_the_gradient_survives_a_reference_pass_in_between(image: MakeImage) -> None:
    modality = image(lora=Lora(r=2), gradient_checkpointing=True)
    policy, batch = modality.load(), batch_of(modality)
    disturb(policy)
    found = []
    for reference in (False, True):
        policy.zero_grad()
        logps = modality.likelihood(policy, batch, Needs()).logps
        if reference:
            with modality.adapter_off(policy), torch.no_grad():
                modality.likelihood(policy, batch, Needs())
        logps.sum().backward()
        found.append([p.grad.clone() for p in policy.parameters() if p.grad is not None])
    assert found[0]
    assert all(torch.equal(first, second) for first, second in zip(*found, strict=True))


def test_full_training_reaches_every_weight(image: MakeImage) -> None:
    modality = image()
    policy = modality.load()
    assert policy.training
    modality.likelihood(policy, batch_of(modality), Needs()).logps.sum().backward()
    assert all(p.grad is not None for p in policy.parameters())
    assert all(not p.requires_grad for p in modality.family.pipeline.vae.parameters())
    assert all(not p.requires_grad for p in modality.family.pipeline.text_encoder.parameters())
    assert not modality.has_adapter(policy)
    with pytest.raises(UserError, match="no adapter"):
        modality.adapter_off(policy)


def test_a_frozen_copy_of_the_policy_can_be_made(image: MakeImage) -> None:
    modality = image(lora=Lora(r=2), gradient_checkpointing=True)
    policy, batch = modality.load(), batch_of(modality)
    disturb(policy)
    frozen = copy.deepcopy(policy).requires_grad_(False).eval()
    assert torch.equal(
        modality.likelihood(frozen, batch, Needs()).logps, modality.likelihood(policy, batch, Needs()).logps
    )


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        ({"target_modules": ["to_qq"]}, "no module of UNet2DConditionModel is called 'to_qq'.*'to_q'"),
        ({"target_modules": ["to_q", "q_proj"]}, "no module of UNet2DConditionModel is called 'q_proj'"),
        ({"target_modules": "to_q"}, "fits the full name of no module"),
        ({"target_modules": []}, "target_modules is empty"),
        ({"target_modules": ["norm1"]}, "cannot be adapted"),
        ({"modules_to_save": ["conv_aut"]}, "called 'conv_aut'.*'conv_out'"),
    ],
)
def test_mistakes_are_refused(image: MakeImage, lora: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=rf"(?s){message}"):
        image(lora=Lora(**lora)).load()
