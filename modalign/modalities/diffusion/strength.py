"""How strongly an objective's options act on denoising errors, in words for the start of a run."""

from collections.abc import Iterator, Mapping

from modalign.core.objectives.base import Objective
from modalign.core.objectives.mapo import MaPo
from modalign.core.objectives.pairwise import Ipo
from modalign.core.objectives.weighted_sum import WeightedSum

USUAL = (50.0, 2500.0)
"""Published betas in this unit: Flow-DPO's code halves 100, Diffusion-DPO's 5,000."""


def strength_notes(objective: Objective, latents: Mapping[str, int]) -> list[str]:
    """A sentence or two for each objective whose options work per mean squared error.

    Args:
        objective: Alone or a weighted sum.
        latents: How many latent numbers a medium has, by the name of its size: the run's own first, and one to
            compare with; empty where it is not known.
    """
    return [note for name, part in _parts("", objective) for note in _notes(name, part, latents)]


def _parts(name: str, objective: Objective) -> Iterator[tuple[str, Objective]]:
    """An objective's parts under the names of their options in the configuration."""
    if not isinstance(objective, WeightedSum):
        yield name, objective
        return
    for part, inner in objective.parts.items():
        yield from _parts(f"{name}{part}.", inner)


def _notes(name: str, objective: Objective, latents: Mapping[str, int]) -> Iterator[str]:
    beta = getattr(objective, "beta", None)
    if isinstance(objective, MaPo):
        slope = objective.margin_scale * objective.error_scale / 2
        yield (
            f"{name}margin_scale {objective.margin_scale:g} and error_scale {objective.error_scale:g} work, while "
            f"errors are small, like a beta of {slope:g} without a reference {_per_unit(slope, latents)}"
        )
    elif isinstance(objective, Ipo):
        yield f"{name}beta {objective.beta:g} asks for a margin of {1 / (2 * objective.beta):g} in mean squared error."
    elif isinstance(beta, float):
        yield f"{name}beta {beta:g} works {_per_unit(beta, latents)}"
        if beta < USUAL[0] / 5:
            yield (
                f"{name}beta {beta:g} is the size of a text model's; published runs of diffusion models use "
                f"{USUAL[0]:,g} to {USUAL[1]:,g} in this unit."
            )


def _per_unit(beta: float, latents: Mapping[str, int]) -> str:
    """What a factor of the mean squared error is per unit of squared error, and at the size to compare with."""
    text = "per mean squared error"
    sizes = list(latents.items())
    if sizes:
        size, numbers = sizes[0]
        text += f": {beta / numbers:.3g} per unit of squared error at {size} ({numbers:,} latent numbers)"
    for other, more in sizes[1:]:
        text += f"; the same at {other} pulls {_share(numbers / more)} as hard"
    return f"{text}."


def _share(share: float) -> str:
    return {0.25: "a quarter", 0.5: "half"}.get(share, f"{share:.2g} times")
