"""Whether objective, reference, modality and data fit together, told before anything is loaded."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.plugins.precision import HalfPrecision, Precision
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy, Strategy

from modalign.core.batch import MISMATCHED
from modalign.core.errors import ConfigError
from modalign.core.format import Format
from modalign.core.modality import Modality
from modalign.core.objectives.base import Feedback, Objective
from modalign.core.reference import CachedReference, NoReference, Reference

_EXAMPLES = {
    Feedback.PAIRWISE: "pairs (chosen, rejected)",
    Feedback.POINTWISE: "labels (good or bad for each response)",
    Feedback.LISTWISE: "ranked lists (several responses with scores)",
    Feedback.DEMONSTRATION: "demonstrations (responses to imitate)",
}
_CURES = {
    Feedback.PAIRWISE: "Use pairs, or an objective for labels such as kto or bco.",
    Feedback.POINTWISE: "Use data with labels, or an objective for pairs such as dpo.",
    Feedback.LISTWISE: "Use data with several scored responses a prompt, kept as lists (data.format ranked with pairs: "
    "none).",
    Feedback.DEMONSTRATION: "Use data with a response to imitate.",
}


def check_parts(modality: Modality, objective: Objective, reference: Reference | None) -> None:
    """Refuse parts that cannot work together.

    Raises:
        ConfigError: Saying which two parts, and what to change.
    """
    name = type(objective).__name__
    missing = objective.needs.extra - modality.provides
    if missing:
        raise ConfigError(
            f"The objective {name} needs {', '.join(sorted(missing))}, which the modality {modality.name!r} does not "
            "compute.",
            f"It computes: {', '.join(sorted(modality.provides)) or 'log-probabilities only'}.",
        )
    unknown = set(objective.extra_roles) - modality.extra_roles - {MISMATCHED}
    if unknown:
        raise ConfigError(
            f"The objective {name} needs cells of role {', '.join(sorted(unknown))}, which the modality "
            f"{modality.name!r} does not make.",
            _role_cure(modality),
        )
    if reference is None:
        return
    given = not isinstance(reference, NoReference)
    if given and not objective.uses_reference:
        raise ConfigError(
            f"The objective {name} uses no reference, and model.reference is {type(reference).__name__}.",
            "Remove model.reference, or set it to none.",
        )
    if not given and objective.uses_reference:
        raise ConfigError(
            f"The objective {name} needs a reference, and model.reference is none.",
            "Remove model.reference (one is chosen for you), or use a reference-free objective such as simpo.",
        )
    if isinstance(reference, CachedReference) and (objective.needs.token_logps or objective.needs.extra):
        raise ConfigError(
            f"The objective {name} needs more of the reference than one log-probability a response, and a cached "
            "reference keeps only that.",
            "Use model.reference: frozen.",
        )


def _role_cure(modality: Modality) -> str:
    made = sorted(modality.extra_roles)
    contexts = sorted({context for role in made if (context := role.partition("@")[2])})
    if not contexts:
        return f"It makes: {', '.join(made) or 'none'}. Choose another modality or objective."
    options = " or ".join(f"contrast: {context}" for context in contexts)
    return (
        f"It makes: {', '.join(made)}. Set {options} among the objective's options, which those that compare contexts "
        "have; or choose another modality or objective."
    )


def check_strategy(strategy: Strategy) -> None:
    """Refuse strategies that shard the policy: likelihoods call its parts directly, past the hooks that gather shards.

    Raises:
        ConfigError: Naming the strategy and those that work.
    """
    if isinstance(strategy, FSDPStrategy | ModelParallelStrategy | DeepSpeedStrategy):
        raise ConfigError(
            f"trainer.strategy {type(strategy).__name__} shards the model, which is not supported yet.",
            "Use ddp, with an adapter (model.modality.lora) where the model is too large.",
        )


def check_precision(plugin: Precision) -> None:
    """Refuse precisions that round everything in a batch: weights of rows, sizes, sizes of pictures.

    Raises:
        ConfigError: Naming the precision and those that work.
    """
    if isinstance(plugin, HalfPrecision):
        wide = {"bf16-true": "bfloat16", "16-true": "float16"}[plugin.precision]
        raise ConfigError(
            f"trainer.precision {plugin.precision} rounds all that a batch holds, its rows' weights and sizes too.",
            f"Set model.modality.dtype: {wide}, which rounds the model alone, and trainer.precision: 32-true; or "
            "train with a mixed precision such as bf16-mixed.",
        )


def check_feedback(
    objective: Objective, format: Format, columns: Mapping[str, Any], source: str, modality: Modality | None = None
) -> None:
    """Refuse an objective that asks for what the rows do not say, and a format of another modality.

    Raises:
        ConfigError: Naming the data and a cure.
    """
    offered = format.resolve(columns, source, modality).feedback(columns)
    if objective.feedback not in offered:
        raise ConfigError(
            f"The objective {type(objective).__name__} learns from {_EXAMPLES[objective.feedback]}, and {source} "
            f"(columns {', '.join(columns)}) holds {' and '.join(_EXAMPLES[f] for f in sorted(offered))}.",
            _CURES[objective.feedback],
        )
