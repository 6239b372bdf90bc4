"""The callbacks every run has unless the user gives one of the same kind."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback

from modalign.core.callbacks.checkpoint import ResumeCheckpoint
from modalign.core.callbacks.drift import DriftLog
from modalign.core.callbacks.export import Export
from modalign.core.callbacks.predictions import PredictionWriter
from modalign.core.callbacks.progress import Progress
from modalign.core.callbacks.run_folder import RunFolder


def default_callbacks(config: dict[str, Any], given: Sequence[Callback]) -> list[Callback]:
    """Those of the default callbacks that `given` has no replacement for.

    Args:
        config: The run's config as plain values, for the run's folder and its checkpoints.
        given: The user's callbacks.
    """
    defaults = [RunFolder(config), ResumeCheckpoint(), DriftLog(), Progress(), PredictionWriter(), Export()]
    return [callback for callback in defaults if not any(isinstance(other, type(callback)) for other in given)]
