"""The one LightningModule of preference optimisation: batch -> likelihoods -> objective -> loss."""

from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from modalign.core.batch import Likelihood, PreferenceBatch, Window
from modalign.core.callbacks.margin_spread import MarginSpread
from modalign.core.callbacks.metrics import MetricsLog
from modalign.core.callbacks.tripwires import Tripwires, check_trainable, not_finite
from modalign.core.compatibility import check_parts, check_precision, check_strategy
from modalign.core.errors import ConfigError
from modalign.core.keys import run_seed, seed_global
from modalign.core.modality import Modality
from modalign.core.objectives.base import Objective, ObjectiveOutput, Term
from modalign.core.reference import NoReference, Reference, ReferenceContext, default_reference
from modalign.core.run_length import RunLength
from modalign.core.schedule import Schedule


class PreferenceModule(LightningModule):
    """Asks policy and reference how likely they find a batch, and hands both answers to the objective.

    Args:
        modality: What is generated: loads the policy and computes likelihoods.
        objective: The loss.
        reference: Where reference likelihoods come from; None chooses: the adapter switched off where the policy has
            one, else a frozen copy, and none for a reference-free objective.
        optimizer: Makes the optimiser from the trainable parameters.
        schedule: The learning rate's course.

    Raises:
        ConfigError: The parts cannot work together.
    """

    policy: nn.Module

    def __init__(
        self,
        modality: Modality,
        objective: Objective,
        reference: Reference | None = None,
        optimizer: OptimizerCallable = lambda parameters: AdamW(parameters, lr=1e-6, weight_decay=0.0),
        schedule: Schedule = Schedule(),  # noqa: B008
    ) -> None:
        super().__init__()
        check_parts(modality, objective, reference)
        self.modality = modality
        self.objective = objective
        self.reference = None if isinstance(reference, NoReference) else reference
        self._optimizer = optimizer
        self._schedule = schedule

    def configure_callbacks(self) -> list[Callback]:
        return [MetricsLog(), MarginSpread(), Tripwires()]

    def setup(self, stage: str) -> None:
        """Load the policy and prepare the reference, while weights are as loaded: before a checkpoint is restored."""
        check_strategy(self.trainer.strategy)
        check_precision(self.trainer.precision_plugin)
        if not hasattr(self, "policy"):
            seed_global(run_seed(), "load")
            self.policy = self.modality.load()
        self._prepare_data()
        if stage == "fit":
            check_trainable(self.policy)
            for note in self.modality.start_notes(self.objective):
                rank_zero_only(print)(note)
        if self.objective.uses_reference:
            self.reference = self.reference or default_reference(self.modality, self.policy)
            self.reference.prepare(self._reference_context(self.reference))
            self.trainer.strategy.barrier("reference")

    def _prepare_data(self) -> None:
        data = getattr(self.trainer, "datamodule", None)
        # Of another data module's comparisons nothing is known; they are encoded live.
        if data is not None and hasattr(data, "readable"):
            comparisons = data.readable(self._run_length(), self.trainer.world_size)
            self.modality.prepare(comparisons, self.trainer.strategy.root_device)
            self.trainer.strategy.barrier("data")

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = self._optimizer([p for p in self.parameters() if p.requires_grad])
        if all(group["lr"] == 0 for group in optimizer.param_groups):
            raise ConfigError("The learning rate is 0, so nothing would be trained.", "Set model.optimizer.lr.")
        steps = float(self.trainer.estimated_stepping_batches) if self._schedule.needs_length else float("inf")
        scheduler = self._schedule.build(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def training_step(self, batch: PreferenceBatch, batch_idx: int) -> dict[str, Any]:
        output = self.evaluate(batch)[1]
        loss = self._window_loss(output, batch)
        if not torch.isfinite(loss):
            raise not_finite(loss, output, batch, self.trainer)
        # Lightning divides by the number of micro-batches, and DDP by the number of ranks.
        loss = loss * self.trainer.accumulate_grad_batches * self.trainer.world_size
        return {"loss": loss, "output": output.detach()}

    def validation_step(self, batch: PreferenceBatch, batch_idx: int) -> ObjectiveOutput:
        return self.evaluate(batch)[1].detach()

    test_step = validation_step

    def predict_step(self, batch: PreferenceBatch, batch_idx: int) -> dict[str, Any]:
        """`logps` `(B, K)` and each metric's `(B,)`, NaN in rows that a metric leaves out."""
        policy, output = self.evaluate(batch)
        metrics = {
            name: metric.values if metric.where is None else metric.values.masked_fill(~metric.where, torch.nan)
            for name, metric in output.metrics.items()
        }
        return {"logps": policy.logps, **metrics}

    def evaluate(self, batch: PreferenceBatch) -> tuple[Likelihood, ObjectiveOutput]:
        """The policy's likelihood of a batch and what the objective makes of it."""
        needs, batch = self.objective.needs, self.modality.encode_batch(batch)
        policy = self.modality.likelihood(self.policy, batch, needs)
        reference = self.reference and self.reference.likelihood(self.modality, self.policy, batch, needs)
        return policy, self.objective(policy, reference, batch)

    def _window_loss(self, output: ObjectiveOutput, batch: PreferenceBatch) -> Tensor:
        """This micro-batch's share of the optimiser step's loss, exact however the step was split."""
        loss = torch.zeros((), device=self.device)
        for term in output.terms:
            total = self.trainer.strategy.reduce(self._window_total(term, batch), reduce_op="sum")
            loss = loss + term.coefficient * (batch.weight * term.values).sum() / total
        return loss

    def _window_total(self, term: Term, batch: PreferenceBatch) -> Tensor:
        if batch.window is None and self.trainer.accumulate_grad_batches > 1:
            raise ConfigError(
                "Gradients are accumulated over batches that do not know their optimiser step's totals.",
                "Use a PreferenceDataModule or a BatchLoader, or trainer.accumulate_grad_batches: 1.",
            )
        window = batch.window or Window.of([batch])
        total = window.weight if term.per_role is None else window.sizes.get(term.per_role, 0.0)
        return torch.tensor(total, dtype=term.values.dtype, device=self.device)

    def _reference_context(self, reference: Reference) -> ReferenceContext:
        trainer, data = self.trainer, getattr(self.trainer, "datamodule", None)
        if reference.wants_fingerprints and data is not None:
            data.ask_fingerprints()
        return ReferenceContext(
            modality=self.modality,
            policy=self.policy,
            needs=self.objective.needs,
            batches=data and self._batches_ahead,
            device=trainer.strategy.root_device,
            autocast=trainer.precision_plugin.forward_context,
            precision=str(trainer.precision),
        )

    def _batches_ahead(self) -> Iterator[PreferenceBatch]:
        """What this run will see of the data; this rank's share of it."""
        trainer, cycle, length = self.trainer, self.modality.draw_cycle, self._run_length()
        data = trainer.datamodule
        if cycle != 1 and trainer.state.fn == TrainerFn.FITTING:
            self._tell_epochs(data.epochs_drawn(length, trainer.world_size, cycle))
        batches: Iterator[PreferenceBatch] = data.all_batches(trainer.global_rank, trainer.world_size, length, cycle)
        return batches

    @rank_zero_only
    def _tell_epochs(self, epochs: int) -> None:
        if epochs > 1:
            print(
                f"The cached reference reads {epochs} epochs of the training data ahead, as far as the run sees them, "
                "since what is drawn for a row differs from epoch to epoch; the modality's draw_cycle sets after how "
                "many epochs it repeats."
            )

    def _run_length(self) -> RunLength:
        fitting = self.trainer.state.fn == TrainerFn.FITTING
        return RunLength.of(self.trainer) if fitting else RunLength(max_steps=0)

    def on_fit_start(self) -> None:
        if self.reference is not None:
            convert = self.trainer.precision_plugin.convert_module
            self.reference.place(lambda model: convert(model.to(self.device)))

    on_validation_start = on_test_start = on_predict_start = on_fit_start

    def on_train_batch_start(self, batch: PreferenceBatch, batch_idx: int) -> None:
        # Dropout draws from the global generators; seeded by position, a resumed run draws the same.
        seed_global(run_seed(), "train", self.current_epoch, batch_idx, self.global_rank)

    def on_validation_batch_start(self, batch: PreferenceBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        seed_global(run_seed(), "evaluate", batch_idx, self.global_rank)

    on_test_batch_start = on_predict_batch_start = on_validation_batch_start

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Optimizer, optimizer_closure: Any = None) -> None:
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.reference is not None:
            self.reference.step(self.policy, self.trainer.global_step + 1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Frozen weights are left out: loading the policy brings them back.
        for name in self._frozen_names():
            checkpoint["state_dict"].pop(name, None)
        checkpoint["reference"] = self.reference.state_dict() if self.reference is not None else {}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        own = self.state_dict()
        checkpoint["state_dict"].update({n: own[n] for n in self._frozen_names() if n not in checkpoint["state_dict"]})
        if self.reference is not None:
            self.reference.load_state_dict(checkpoint["reference"])

    def _frozen_names(self) -> list[str]:
        return [f"policy.{name}" for name, p in self.policy.named_parameters() if not p.requires_grad]
