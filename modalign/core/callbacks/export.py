"""The trained policy as an ordinary folder, at the end of `fit`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from modalign.core.callbacks.metrics import latest_metrics
from modalign.core.callbacks.run_folder import RunFolder
from modalign.core.errors import ConfigError, UserError
from modalign.core.model_card import model_card


class Export(Callback):
    """Writes the policy, what it needs beside it, and a model card.

    Args:
        folder: Where to, a new folder; None for `export` in the run's folder, which is replaced.
        options: Passed to the modality's `export` (for text: `merge: false` keeps an adapter apart, `overwrite: true`
            replaces the folder).
        enabled: False writes nothing; `modalign export` does so later, from a checkpoint.
    """

    def __init__(self, folder: str | None = None, options: dict[str, bool] | None = None, enabled: bool = True) -> None:
        self.enabled = enabled
        self.folder = folder
        self.options = options or {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and self.enabled:
            pl_module.modality.check_export(self.options)
        given = Path(self.folder) if self.folder else None
        if stage == "fit" and given is not None and given.exists() and not self.options.get("overwrite"):
            raise ConfigError(
                f"export.folder {self.folder} exists already.",
                "Choose another folder, or set export.options.overwrite: true.",
            )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.enabled:
            return
        folder = Path(self.folder or Path(trainer.default_root_dir) / "export")
        options = self.options if self.folder else {"overwrite": True, **self.options}
        problem: UserError | OSError | None = None
        if trainer.is_global_zero:
            library = pl_module.modality.library(options)
            card = model_card(self._config(trainer), _last_metrics(trainer), trainer.global_step, library=library)
            try:
                pl_module.modality.export(pl_module.policy, folder, card, **options)
                print(f"exported: {folder}")
            except (UserError, OSError) as error:
                problem = error
        # The other ranks wait here, so they must hear of a failure.
        failed = trainer.strategy.broadcast(problem is not None)
        if problem is not None:
            raise UserError(f"The policy could not be written to {folder}: {problem}") from problem
        if failed:
            raise UserError(f"Rank 0 could not write the policy to {folder}.")

    def _config(self, trainer: Trainer) -> Mapping[str, Any]:
        return next((c.config for c in trainer.callbacks if isinstance(c, RunFolder)), {})


def _last_metrics(trainer: Trainer) -> dict[str, float]:
    validation = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return {
        name: value
        for name, value in {**latest_metrics(trainer), **validation}.items()
        if name not in ("epoch", "step", "partial")
    }
