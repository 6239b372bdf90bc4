"""Checks that stop a run which only looks as if it trained."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from modalign.core.batch import PreferenceBatch
from modalign.core.errors import UserError
from modalign.core.objectives.base import ObjectiveOutput

STILL_STEPS = 10


class Tripwires(Callback):
    """Some parameter must move, and a reference equal to the policy fixes the first loss."""

    def __init__(self) -> None:
        self._before: list[Tensor] | None = None
        self._still = 0
        self._moved = False

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if not self._moved and optimizer.param_groups[0]["lr"] > 0:
            self._before = [p.detach().clone() for p in pl_module.policy.parameters() if p.requires_grad]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: PreferenceBatch, batch_idx: int
    ) -> None:
        if trainer.global_step <= 1 and batch_idx == 0 and trainer.current_epoch == 0:
            self._check_first(pl_module, outputs["output"], batch)
        if self._before is not None:
            self._check_movement(pl_module.policy)

    def _check_first(self, module: LightningModule, output: ObjectiveOutput, batch: PreferenceBatch) -> None:
        """Refuse a run whose reference should equal the policy and does not."""
        expected = module.objective.start_loss
        equal = module.reference is not None and module.reference.starts_equal
        if expected is None or not equal or _drops(module.policy):
            return
        first = float(output.loss(batch))
        tolerance = 1e-3 if "32" in str(module.trainer.precision) else 5e-2
        if abs(first - expected) > tolerance * max(1.0, abs(expected)):
            raise UserError(
                f"The first loss is {first:.6f}, and with a reference equal to the policy it must be {expected:.6f}.",
                "The reference is not the model that is being trained, or the two do not see the same input (dropout, "
                "precision). If another reference is meant, name it: model.reference.model.",
            )

    def _check_movement(self, policy: nn.Module) -> None:
        after = [p for p in policy.parameters() if p.requires_grad]
        self._moved = any(not torch.equal(a, b) for a, b in zip(self._before or [], after, strict=True))
        self._before = None
        self._still = 0 if self._moved else self._still + 1
        if self._still >= STILL_STEPS:
            raise self._stuck()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._still:
            raise self._stuck()

    def _stuck(self) -> UserError:
        return UserError(
            f"No parameter has moved in {self._still} optimiser steps.",
            "All gradients are zero, or the steps are too small for the weights' precision: raise the learning rate, "
            "or train in float32 or bf16-mixed.",
        )


def check_trainable(policy: nn.Module) -> None:
    """Refuse a policy without a trainable parameter."""
    if not any(parameter.requires_grad for parameter in policy.parameters()):
        raise UserError(
            "No parameter of the policy is trainable.",
            "Check which parameters are frozen, and that an adapter bound to some module.",
        )


def not_finite(loss: Tensor, output: ObjectiveOutput, batch: PreferenceBatch, trainer: Trainer) -> UserError:
    """The error of a non-finite loss, naming the comparisons at fault."""
    finite = torch.stack([torch.isfinite(term.values) for term in output.terms]).all(0).tolist()
    data: Any = getattr(trainer, "datamodule", None)
    rows = [row for row, good in zip(batch.index.tolist(), finite, strict=True) if not good] or batch.index.tolist()
    places = [data.describe("train", row) if hasattr(data, "describe") else f"row {row}" for row in rows[:10]]
    return UserError(
        f"The loss is {loss.item()} at step {trainer.global_step}, from {'; '.join(places)}.",
        "Look at these rows; then lower the learning rate, clip gradients (trainer.gradient_clip_val), or use a wider "
        "precision.",
    )


def _drops(policy: nn.Module) -> bool:
    """Whether dropout makes two passes of the policy differ: by a module, or by a probability a module passes on."""
    return any(
        isinstance(value, float) and value > 0
        for module in policy.modules()
        if module.training
        for name, value in vars(module).items()
        if "dropout" in name or (isinstance(module, nn.Dropout) and name == "p")
    )
