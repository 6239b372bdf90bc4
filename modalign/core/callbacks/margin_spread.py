"""How widely the term inside a logistic loss spreads as a run starts, which tells whether beta fits the data."""

from collections.abc import Iterator
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from modalign.core.batch import PreferenceBatch
from modalign.core.callbacks.meter import Meter
from modalign.core.objectives.base import Metric, Objective
from modalign.core.objectives.pairwise import Ipo, MarginObjective
from modalign.core.objectives.weighted_sum import WeightedSum

STEPS = 20
WIDE = 3.0
"""From which standard deviation on the sigmoid is flat for most rows."""

MARGIN = "rewards/margins"


class MarginSpread(Callback):
    """Logs `start/margin_std`, the standard deviation of beta times the margin over the first 20 optimiser steps.

    It should come to be about 1. Far above it, with signs that are still random, the loss sees noise alone, and a beta
    that would bring it to 1 is printed: a beta works per unit of log-likelihood, and of one number of latents to
    another, or one model to another, the noise of that unit differs. A small one is only logged: it is what a small
    learning rate or a warm-up makes of any beta.
    """

    def __init__(self) -> None:
        self._meter = Meter()
        self._done = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: PreferenceBatch, batch_idx: int
    ) -> None:
        if self._done:
            return
        metric = outputs["output"].metrics.get(MARGIN)
        if metric is not None:
            margins = metric.values.detach().double()
            self._meter.add(
                {"margin": Metric(margins, metric.where), "square": Metric(margins.square(), metric.where)},
                batch.weight,
            )
        if trainer.global_step >= STEPS:
            self._done = True
            self._tell(trainer, pl_module.objective)

    def state_dict(self) -> dict[str, Any]:
        return {"meter": self._meter.state_dict(), "done": self._done}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._meter.load_state_dict(state_dict["meter"])
        self._done = state_dict["done"]

    def _tell(self, trainer: Trainer, objective: Objective) -> None:
        means, found = self._meter.means(), next(_logistic("", objective), None)
        if found is None or not means:
            return
        name, beta = found
        mean = means["margin"]
        spread = max(means["square"] - mean**2, 0.0) ** 0.5
        for logger in trainer.loggers:
            logger.log_metrics({"start/margin_std": spread}, step=trainer.global_step)
        warning = spread_warning(name, beta, mean, spread)
        if warning is not None:
            rank_zero_only(print)(warning)


def spread_warning(name: str, beta: float, mean: float, spread: float) -> str | None:
    """What a user must be told of a beta; None where there is nothing.

    Args:
        name: The option's, as the config has it.
        beta: Its value.
        mean: Of beta times the margin, over the first steps; far from 0 where the run tells chosen from rejected.
        spread: Its standard deviation.
    """
    if spread < WIDE or abs(mean) > spread:
        return None
    return (
        f"warning: {name} {beta:g} is too large for this data: over the first {STEPS} steps, beta times the margin had "
        f"a standard deviation of {spread:.2g} about {mean:.2g}, where about 1 is wanted, so the loss sees noise. "
        f"Try {name} {beta / spread:.2g}, or average more draws a row where the modality has them (modality.draws)."
    )


def _logistic(name: str, objective: Objective) -> Iterator[tuple[str, float]]:
    """The betas, by their options' names, of the parts whose loss is a sigmoid or a hinge of beta times the margin."""
    if isinstance(objective, WeightedSum):
        for part, inner in objective.parts.items():
            yield from _logistic(f"{name}{part}.", inner)
    elif isinstance(objective, MarginObjective) and not isinstance(objective, Ipo):
        yield f"{name}beta", objective.beta
