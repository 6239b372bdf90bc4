"""An exponential moving average of the policy's trained weights."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from modalign.core.errors import ConfigError


class Ema(Callback):
    """Keeps `average = decay * average + (1 - decay) * weights` of the trained weights: an adapter's, or all.

    Validation, samples and the export at the end take the average; training goes on from the weights themselves.
    Checkpoints hold both. The average is kept in float32 where the weights are narrower, or small steps would be lost.

    Lightning's own EMAWeightAveraging copies the whole module, frozen weights and all, and writes them to checkpoints.

    Args:
        decay: What remains of the average at an update; from 0 to below 1.
        every: Optimiser steps between two updates.
        start: The optimiser step from which it is averaged; until then the average is the weights.
        evaluate: Whether validation, samples and the export take the average. Where false, it is kept in checkpoints,
            and `modalign export` reads it there.
    """

    def __init__(self, decay: float = 0.9999, every: int = 1, start: int = 0, evaluate: bool = True) -> None:
        if not 0 <= decay < 1:
            raise ConfigError(f"Ema: decay is {decay}.", "Give a number from 0 to below 1, such as 0.9999.")
        if every < 1 or start < 0:
            raise ConfigError(f"Ema: every is {every} and start {start}.", "Give at least 1 and at least 0.")
        self.decay = decay
        self.every = every
        self.start = start
        self.evaluate = evaluate
        self._average: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}
        self._step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trained = _trained(pl_module.policy)
        if self._average and self._average.keys() != trained.keys():
            raise ConfigError(
                "Ema: the checkpoint's average is of other weights than those that are trained.",
                "Continue with the model it was written with.",
            )
        self._place(trained)
        if not self._average:
            self._average = {name: _wide(weight).clone() for name, weight in trained.items()}
        self._step = trainer.global_step

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._leave(pl_module.policy)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self._step:  # gradients are still being accumulated
            return
        self._step = trainer.global_step
        if self._step <= self.start:
            self._update(pl_module.policy, decay=0.0)
        elif self._step % self.every == 0:
            self._update(pl_module.policy, self.decay)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.evaluate and self._average:
            self._place(_trained(pl_module.policy))
            self._enter(pl_module.policy)

    on_test_start = on_predict_start = on_train_end = on_validation_start

    def state_dict(self) -> dict[str, Any]:
        return {"average": self._average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._average = state_dict["average"]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """A checkpoint's weights are those that are trained, also where one is written between two batches."""
        checkpoint["state_dict"].update({f"policy.{name}": weight for name, weight in self._weights.items()})

    @torch.no_grad()
    def _update(self, policy: nn.Module, decay: float) -> None:
        for name, weight in _trained(policy).items():
            self._average[name].lerp_(_wide(weight), 1 - decay)

    # The weights come back when the next batch begins, not when validation ends, so that whatever other callbacks
    # measure at its end is measured of the same policy.
    @torch.no_grad()
    def _enter(self, policy: nn.Module) -> None:
        """Put the average in the place of the weights, which are kept."""
        if self._weights:
            return
        for name, weight in _trained(policy).items():
            self._weights[name] = weight.detach().clone()
            weight.copy_(self._average[name])

    @torch.no_grad()
    def _leave(self, policy: nn.Module) -> None:
        """Put the weights back."""
        for name, weight in _trained(policy).items() if self._weights else ():
            weight.copy_(self._weights[name])
        self._weights = {}

    def _place(self, trained: Mapping[str, Tensor]) -> None:
        """Bring a checkpoint's average to where the weights are."""
        self._average = {name: value.to(trained[name].device) for name, value in self._average.items()}


def average_in(checkpoint: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """The average that an `Ema` left in a checkpoint, by name of the policy's parameter; None where there was none."""
    state = checkpoint.get("callbacks", {}).get(Ema.__qualname__)
    return state["average"] if state else None


def _trained(policy: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in policy.named_parameters() if parameter.requires_grad}


def _wide(weight: Tensor) -> Tensor:
    return weight.detach().to(torch.promote_types(weight.dtype, torch.float32))
