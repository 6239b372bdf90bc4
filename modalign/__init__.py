"""Preference alignment of generative models of any modality.

Importing this package is cheap: torch and Lightning load when a name that needs them is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from modalign.plugins.hookspecs import hookimpl

if TYPE_CHECKING:
    from modalign.core.batch import Candidate, Comparison, Likelihood, PreferenceBatch
    from modalign.core.data import PreferenceDataModule
    from modalign.core.figures import Ratio
    from modalign.core.format import Format
    from modalign.core.modality import Modality
    from modalign.core.module import PreferenceModule
    from modalign.core.objectives.base import Objective
    from modalign.core.reference import Reference
    from modalign.core.reward import Reward
    from modalign.core.sampler import Sampler
    from modalign.core.task import FileTask, Task

__version__ = "0.1.0"

_HOMES = {
    "Candidate": "modalign.core.batch",
    "Comparison": "modalign.core.batch",
    "Likelihood": "modalign.core.batch",
    "PreferenceBatch": "modalign.core.batch",
    "PreferenceDataModule": "modalign.core.data",
    "FileTask": "modalign.core.task",
    "Format": "modalign.core.format",
    "Modality": "modalign.core.modality",
    "PreferenceModule": "modalign.core.module",
    "Objective": "modalign.core.objectives.base",
    "Ratio": "modalign.core.figures",
    "Reference": "modalign.core.reference",
    "Reward": "modalign.core.reward",
    "Sampler": "modalign.core.sampler",
    "Task": "modalign.core.task",
}

__all__ = [
    "Candidate",
    "Comparison",
    "FileTask",
    "Format",
    "Likelihood",
    "Modality",
    "Objective",
    "PreferenceBatch",
    "PreferenceDataModule",
    "PreferenceModule",
    "Ratio",
    "Reference",
    "Reward",
    "Sampler",
    "Task",
    "__version__",
    "hookimpl",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'modalign' has no attribute {name!r}")
