"""Flow-DPO on a real SD3 transformer equals a plain transcription of its released code, in float64."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalign.core.batch import Candidate, Comparison, PreferenceBatch
from modalign.core.objectives.base import Needs
from modalign.core.objectives.pairwise import Dpo
from modalign.modalities.diffusion.draws import RowDraws
from modalign.modalities.diffusion.timesteps import Timesteps
from modalign.modalities.image.modality import Image
from tests.modalities.image.tiny import PROMPTS, double, picture

SHIFT = 3.0


def transcribed_errors(modality: Image, batch: PreferenceBatch, model: nn.Module, derived: bool) -> Tensor:
    """`(rows, 2)`: noisy = (1 - sigma) x + sigma noise, target = noise - x, the mean of squares.

    Args:
        modality: Its frozen parts encode.
        batch: Its rows and epoch draw.
        model: The transformer.
        derived: Whether errors are weighted by (1 - sigma)^2, as in the paper's derivation.
    """
    pipeline, keys = modality.family.pipeline, RowDraws.of(batch)
    share = (keys.positions(Timesteps("logit_normal"), 1000, 0) * 1000).floor().add(1) / 1000
    sigmas = SHIFT * share / (1 + (SHIFT - 1) * share)
    noise, posterior = keys.noise((4, 8, 8), 0).double(), keys.noise((4, 8, 8), 0, "posterior").double()
    errors = []
    for n, sigma in enumerate(sigmas):
        prompt = PROMPTS[n // 2]
        pixels = torch.from_numpy(np.array(picture(n))).permute(2, 0, 1)[None].double() / 127.5 - 1
        with torch.no_grad():
            embeds, _, pooled, _ = pipeline.encode_prompt(prompt, None, None, do_classifier_free_guidance=False)
            moments = pipeline.vae.encode(pixels).latent_dist
            config = pipeline.vae.config
            x = (moments.mean + moments.std * posterior[n] - config.shift_factor) * config.scaling_factor
        velocity = model(
            hidden_states=(1 - sigma) * x + sigma * noise[n],
            timestep=1000 * sigma[None],
            encoder_hidden_states=embeds,
            pooled_projections=pooled,
        ).sample
        error = ((velocity - (noise[n] - x)) ** 2).mean()
        errors.append((1 - sigma) ** 2 * error if derived else error)
    return torch.stack(errors).reshape(-1, 2)


@pytest.mark.parametrize("derived", [False, True])
def test_flow_dpo(stable_diffusion_3: Path, derived: bool) -> None:
    """`-logsigmoid(-0.5 * beta * ((e_w - e_w^r) - (e_l - e_l^r)))`, beta 2,000, logit-normal times."""
    torch.manual_seed(4)
    modality = double(stable_diffusion_3, weighting="epsilon" if derived else "constant")
    policy = modality.load()
    reference = copy.deepcopy(policy).requires_grad_(False)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(2e-3 * torch.randn_like(parameter))
    pairs = [(Candidate(picture(2 * row), "chosen"), Candidate(picture(2 * row + 1), "rejected")) for row in range(2)]
    examples = [modality.encode(Comparison(PROMPTS[row], pair)) for row, pair in enumerate(pairs)]
    batch = modality.collate(examples, [3, 8], epoch=1)

    errors = transcribed_errors(modality, batch, policy, derived)
    with torch.no_grad():
        ref = transcribed_errors(modality, batch, reference, derived)
        theirs = modality.likelihood(reference, batch, Needs())
    ours = modality.likelihood(policy, batch, Needs())
    torch.testing.assert_close(-ours.logps, errors, rtol=1e-8, atol=1e-10)

    inside = -0.5 * 2000 * ((errors[:, 0] - ref[:, 0]) - (errors[:, 1] - ref[:, 1]))
    expected, got = -F.logsigmoid(inside).mean(), Dpo(beta=1000)(ours, theirs, batch).loss(batch)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-8)
    trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    wanted = torch.autograd.grad(expected, trained, allow_unused=True)
    found = torch.autograd.grad(got, trained, allow_unused=True)
    largest = max(gradient.abs().max().item() for gradient in wanted if gradient is not None)
    assert largest > 0.1
    for one, other in zip(found, wanted, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            # The transformer embeds a float32 time, which rounds by how its rows are batched.
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7 * largest)
