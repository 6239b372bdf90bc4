"""Warnings of runs whose accuracy looks well while the policy gets worse, or that learn nothing of the preference."""

from collections.abc import Iterator
from dataclasses import dataclass

from modalign.core.objectives.base import Objective
from modalign.core.objectives.sft import Sft
from modalign.core.objectives.weighted_sum import WeightedSum

SURE = 0.95
"""From which accuracy on a run counts as one that has learned to tell chosen from rejected."""
UNSURE = (0.4, 0.6)
"""Between which accuracies a run tells them apart as a coin does."""
RUINED = 3.0
"""By how many times what is tolerated an error may rise that a run with a lower accuracy is not told of."""
MOST = 0.75
"""Which share of the pairs makes a change one of them all."""
TOGETHER = 0.02
"""By which share of its start the error of both must have risen to count; draws being the same, noise is far less."""


@dataclass(frozen=True)
class Displacement:
    """How errors (minus log-likelihoods) of the same pairs, under the same draws, have changed since step 0.

    Attributes:
        accuracy: The share of pairs whose chosen response gained on the rejected one, or what the run last logged as
            its accuracy in training, where that is more.
        chosen: By how much the mean error of the chosen rose, as a share of its start; below 0 it fell.
        rejected: The same of the rejected.
        chosen_rose: The share of pairs whose chosen response has a larger error than at the start.
        rejected_rose: The same of the rejected.
    """

    accuracy: float
    chosen: float
    rejected: float
    chosen_rose: float
    rejected_rose: float


def displacement_warning(found: Displacement, tolerated: float, objective: Objective) -> str | None:
    """What a user must be told of a run, and what to do; None where there is nothing.

    Plain preference losses pin only the difference of both errors: both may rise without end while accuracy is
    perfect, and what is sampled is ruined (TangoFlux, arXiv 2412.21037, section 2.4; of texts arXiv 2410.08847).

    Args:
        found: What the run has come to.
        tolerated: By which share the error of the chosen may rise; see `Modality.tolerated_fall`.
        objective: Of the run.
    """
    most = tolerated if found.accuracy >= SURE else RUINED * tolerated
    if found.accuracy > UNSURE[1] and found.chosen > most:
        return (
            f"warning: the run is ruining the policy, though its accuracy reads {found.accuracy:.2f}: the error of the "
            f"chosen responses themselves has risen by {found.chosen:.0%} since step 0 (that of the rejected by "
            f"{found.rejected:.0%}), so samples get worse. {_cure(objective)}"
        )
    rose_together = min(found.chosen_rose, found.rejected_rose) >= MOST and min(found.chosen, found.rejected) > TOGETHER
    if UNSURE[0] <= found.accuracy <= UNSURE[1] and rose_together:
        return (
            "warning: the run learns no preference: it tells chosen from rejected as a coin does (accuracy "
            f"{found.accuracy:.2f}), and the errors of both have risen together since step 0, by {found.chosen:.0%} "
            f"and {found.rejected:.0%}. Preference training sharpens what a model can do already: check that what the "
            "pairs differ in is in the prompts and that the base model reacts to it (sample it), train the base on "
            "the chosen first (objective sft), or lower the learning rate."
        )
    return None


def _cure(objective: Objective) -> str:
    imitates = any(isinstance(part, Sft) for part in _parts(objective))
    own = (
        "Raise the weight of the sum's sft part"
        if imitates
        else "Add the chosen's own loss (objective sum, of this objective and sft)"
    )
    return f"{own}, or set a larger beta, or lower the learning rate; then start again from the base model."


def _parts(objective: Objective) -> Iterator[Objective]:
    if isinstance(objective, WeightedSum):
        for part in objective.parts.values():
            yield from _parts(part)
    else:
        yield objective
