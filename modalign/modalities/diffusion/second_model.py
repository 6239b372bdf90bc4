"""Whether another pipeline's denoiser may stand beside a policy, as its reference."""

from modalign.core.errors import ConfigError
from modalign.modalities.diffusion.family import DiffusionFamily
from modalign.modalities.diffusion.loading import PipelineSource, family_class

_INTERFACE = ("in_channels", "out_channels", "cross_attention_dim", "joint_attention_dim", "pooled_projection_dim")


def check_second_model(
    own: PipelineSource, other: PipelineSource, own_family: type[DiffusionFamily], family: str | None
) -> None:
    """Refuse a second model that is asked another question than the first, or does not understand it.

    Args:
        own: The policy's pipeline.
        other: The second model's.
        own_family: The policy's.
        family: The registered family that is named for both; None where each pipeline's class chooses.

    Raises:
        ConfigError: They are of different families, shapes or prediction types.
    """
    other_family = family_class(other, family)
    differences = []
    if other_family is not own_family:
        differences.append(f"families {own_family.__name__} and {other_family.__name__}")
    else:
        mine, theirs = own.config(own_family.denoiser_part), other.config(own_family.denoiser_part)
        differences += [
            f"{name} {mine.get(name)} and {theirs.get(name)}"
            for name in _INTERFACE
            if mine.get(name) != theirs.get(name)
        ]
        first, second = (source.scheduler().get("prediction_type", "epsilon") for source in (own, other))
        if first != second:
            differences.append(f"prediction types {first} and {second}")
    if differences:
        raise ConfigError(
            f"{other.model!r} cannot be the reference of {own.model!r}: they have the {', '.join(differences)}.",
            "Name a model of the same kind.",
        )
