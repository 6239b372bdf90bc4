"""Errors, losses and gradients on a real UNet equal a plain transcription of the papers' equations and codes, float64.

The transcription shares nothing with the package but the random numbers: it encodes by diffusers and transformers, and
corrupts, sums and differentiates by itself.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalign.core.batch import Candidate, Comparison, PreferenceBatch
from modalign.core.objectives.base import Needs, Objective
from modalign.core.objectives.listwise import RankDpo
from modalign.core.objectives.mapo import MaPo
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.pointwise import Kto
from modalign.core.objectives.prospect import Utility
from modalign.modalities.diffusion.draws import RowDraws
from modalign.modalities.diffusion.timesteps import Timesteps
from modalign.modalities.image.modality import Image
from tests.modalities.image.tiny import PROMPTS, double, picture

ROWS = 3


@dataclass
class Scene:
    """A batch as the package sees it, and what went into it."""

    modality: Image
    batch: PreferenceBatch
    pictures: list[list[int]]
    policy: nn.Module
    reference: nn.Module


def scene(folder: Path, roles: Sequence[str], scores: Sequence[float | None] | None = None) -> Scene:
    torch.manual_seed(4)
    modality = double(folder)
    policy = modality.load()
    reference = copy.deepcopy(policy).requires_grad_(False)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(2e-3 * torch.randn_like(parameter))
    pictures = [[10 * row + number for number in range(len(roles))] for row in range(ROWS)]
    examples = [
        modality.encode(
            Comparison(
                PROMPTS[row],
                tuple(
                    Candidate(picture(seed), role, score)
                    for seed, role, score in zip(seeds, roles, scores or [None] * len(roles), strict=True)
                ),
            )
        )
        for row, seeds in enumerate(pictures)
    ]
    return Scene(modality, modality.collate(examples, [5, 0, 9], epoch=2), pictures, policy, reference)


def transcribed_errors(scene: Scene, model: nn.Module, v: bool = False) -> Tensor:
    """`(rows, columns)`: mean over channels, height and width of (pred - target)^2, one cell at a time."""
    pipeline = scene.modality.family.pipeline
    abar = pipeline.scheduler.alphas_cumprod.double()
    keys = RowDraws.of(scene.batch)
    time = (keys.positions(Timesteps(), 1000, 0) * 1000).long()
    noise, posterior = keys.noise((4, 8, 8), 0).double(), keys.noise((4, 8, 8), 0, "posterior").double()
    errors = []
    for n, seed in enumerate(seed for row in scene.pictures for seed in row):
        prompt = PROMPTS[n // len(scene.pictures[0])]
        tokens = pipeline.tokenizer(prompt, padding="max_length", truncation=True, return_tensors="pt").input_ids
        pixels = torch.from_numpy(np.array(picture(seed))).permute(2, 0, 1)[None].double() / 127.5 - 1
        with torch.no_grad():
            text = pipeline.text_encoder(tokens).last_hidden_state
            moments = pipeline.vae.encode(pixels).latent_dist
            x0 = (moments.mean + moments.std * posterior[n]) * pipeline.vae.config.scaling_factor
        a, s = abar[time[n]].sqrt(), (1 - abar[time[n]]).sqrt()
        answer = model(a * x0 + s * noise[n], time[n], encoder_hidden_states=text).sample
        target = a * noise[n] - s * x0 if v else noise[n]
        errors.append(((answer - target) ** 2).mean())
    return torch.stack(errors).reshape(ROWS, -1)


def gradients(loss: Tensor, model: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))


def our_loss(scene: Scene, objective: Objective) -> Tensor:
    policy = scene.modality.likelihood(scene.policy, scene.batch, objective.needs)
    with torch.no_grad():
        reference = scene.modality.likelihood(scene.reference, scene.batch, objective.needs)
    return objective(policy, reference if objective.uses_reference else None, scene.batch).loss(scene.batch)


def assert_parity(
    scene: Scene, objective: Objective, equation: Callable[[Tensor, Tensor], Tensor], v: bool = False
) -> None:
    """Loss and every parameter's gradient."""
    with torch.no_grad():
        reference = transcribed_errors(scene, scene.reference, v)
    expected = equation(transcribed_errors(scene, scene.policy, v), reference)
    got = our_loss(scene, objective)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-11)
    theirs = gradients(expected, scene.policy)
    assert max(gradient.abs().max() for gradient in theirs) > 1e-6
    for ours, other in zip(gradients(got, scene.policy), theirs, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_errors(stable_diffusion: Path, stable_diffusion_v: Path, kind: str) -> None:
    v = kind == "v_prediction"
    it = scene(stable_diffusion_v if v else stable_diffusion, ["chosen", "rejected"])
    assert it.modality.family.process.prediction == kind
    got = it.modality.likelihood(it.policy, it.batch, Needs()).logps
    torch.testing.assert_close(-got, transcribed_errors(it, it.policy, v), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_diffusion_dpo_of_salesforce(stable_diffusion: Path, stable_diffusion_v: Path, kind: str) -> None:
    """`-logsigmoid(-0.5 * beta_dpo * ((e_w - e_l) - (e_w^r - e_l^r))).mean()`, beta_dpo 5,000."""

    def code(model: Tensor, ref: Tensor) -> Tensor:
        model_losses_w, model_losses_l = model.T
        ref_losses_w, ref_losses_l = ref.T
        inside_term = -0.5 * 5000 * ((model_losses_w - model_losses_l) - (ref_losses_w - ref_losses_l))
        return -1 * F.logsigmoid(inside_term).mean()

    v = kind == "v_prediction"
    it = scene(stable_diffusion_v if v else stable_diffusion, ["chosen", "rejected"])
    assert_parity(it, Dpo(beta=2500), code, v)


def test_mapo(stable_diffusion: Path) -> None:
    def code(model: Tensor, ref: Tensor) -> Tensor:
        model_losses_w, model_losses_l = model.T
        snr = 0.5
        log_odds = (snr * model_losses_w) / (torch.exp(snr * model_losses_w) - 1) - (snr * model_losses_l) / (
            torch.exp(snr * model_losses_l) - 1
        )
        ratio_losses = 0.1 * F.logsigmoid(log_odds * 1000).mean()
        return model_losses_w.mean() - ratio_losses

    assert_parity(scene(stable_diffusion, ["chosen", "rejected"]), MaPo(), code)


def test_rankdpo(stable_diffusion: Path) -> None:
    """The paper's algorithm, three images a prompt with the shares of votes 1, 0.25 and 0.5."""
    psi, beta = [1.0, 0.25, 0.5], 800.0
    tau = [1, 3, 2]

    def algorithm(model: Tensor, ref: Tensor) -> Tensor:
        s = model - ref
        total = torch.zeros((), dtype=torch.float64)
        for row in range(ROWS):
            for i in range(3):
                for j in range(3):
                    if tau[i] < tau[j]:
                        gain = abs(2 ** psi[i] - 2 ** psi[j])
                        delta = gain * abs(1 / np.log(1 + tau[i]) - 1 / np.log(1 + tau[j]))
                        total = total - delta * F.logsigmoid(-beta * (s[row, i] - s[row, j]))
        return total / ROWS

    it = scene(stable_diffusion, ["candidate"] * 3, psi)
    assert len({tuple(noise.flatten().tolist()) for noise in RowDraws.of(it.batch).noise((4, 8, 8), 0)}) == 3 * ROWS
    assert_parity(it, RankDpo(beta=beta, gain="score"), algorithm)


UTILITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "kahneman_tversky": torch.sigmoid,
    "loss_averse": lambda gain: -torch.log(1 + torch.exp(-gain)),
    "risk_seeking": lambda gain: torch.log(1 + torch.exp(gain)),
}


@pytest.mark.parametrize("utility", UTILITIES)
@pytest.mark.parametrize("gains", [True, False])
def test_diffusion_kto(stable_diffusion: Path, gains: bool, utility: Utility) -> None:
    """`1 - U(y * beta * (g - z))`, g = e^r - e, z the batch's mean of g, at least 0, without gradient."""
    scores = (1.0, 0.0)

    def code(model: Tensor, ref: Tensor) -> Tensor:
        gain = ref - model
        assert (gain.mean() > 0).item() is gains, "both sides of the clamp must be seen"
        kl = gain.mean().clamp(min=0).detach()
        label_sgn = 2 * torch.tensor(scores, dtype=torch.float64) - 1
        return (1 - UTILITIES[utility](label_sgn * 1000 * (gain - kl))).mean()

    it = scene(stable_diffusion, ["candidate", "candidate"], scores)
    better, worse = sorted((it.policy, it.reference), key=lambda model: transcribed_errors(it, model).mean().item())
    it.policy, it.reference = (better, worse) if gains else (worse, better)
    it.policy.requires_grad_(True)
    assert_parity(it, Kto(beta=1000, utility=utility, reference_point="batch"), code)


def test_swapping_the_labels_flips_the_gradient(stable_diffusion: Path) -> None:
    """Where policy and reference are equal, and chosen and rejected have the same time and noise."""
    it, swapped = scene(stable_diffusion, ["chosen", "rejected"]), scene(stable_diffusion, ["rejected", "chosen"])
    for each in (it, swapped):
        each.policy.load_state_dict(each.reference.state_dict())
    objective = Dpo(beta=2500)
    losses = our_loss(it, objective), our_loss(swapped, objective)
    assert [loss.item() for loss in losses] == pytest.approx([np.log(2)] * 2, abs=1e-12)
    one, other = gradients(losses[0], it.policy), gradients(losses[1], swapped.policy)
    assert max(gradient.abs().max() for gradient in one) > 1e-6
    for left, right in zip(one, other, strict=True):
        torch.testing.assert_close(left, -right, rtol=1e-8, atol=1e-11)
