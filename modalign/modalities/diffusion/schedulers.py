"""From a diffusers scheduler's configuration to the noise process that its model was trained with."""

from typing import Any

from modalign.core.errors import ConfigError
from modalign.modalities.diffusion.noise_process import CosineProcess, DiscreteProcess, NoiseProcess, RectifiedFlow

_FLOWS = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler")
CONTINUOUS_STEPS = 1000
"""How finely fixed time steps are counted where a scheduler names a single one for all of continuous time."""
_COSINE = "CosineDPMSolverMultistepScheduler"
_ADAPT = "Use another scheduler of the model, or register a family whose make_process knows this one."


def scheduler_process(scheduler: Any, time_scale: float | None = None) -> NoiseProcess:
    """The noise process of a scheduler; how the scheduler samples plays no part.

    Where `use_dynamic_shifting` leaves the shift of a flow to the sampler, times are not shifted, as in diffusers'
    training scripts; `timesteps.mean` of logit-normal times shifts them.

    Args:
        scheduler: Of diffusers.
        time_scale: What a flow's network is told where the data is pure noise; None for the scheduler's own
            `num_train_timesteps`.

    Raises:
        ConfigError: Its process is not known here.
    """
    name, config = type(scheduler).__name__, scheduler.config
    if name in _FLOWS:
        shift = 1.0 if config.get("use_dynamic_shifting") else config.shift
        return _flow(config, shift, time_scale)
    prediction = config.get("prediction_type")
    if prediction == "flow_prediction":
        return _flow(config, _flow_shift(name, config), time_scale)
    if name == _COSINE:
        return _cosine(config)
    if prediction not in ("epsilon", "v_prediction", "sample"):
        raise ConfigError(
            f"The scheduler {name} has prediction_type {prediction!r}; known are epsilon, v_prediction, sample and "
            "flow_prediction.",
            _ADAPT,
        )
    if config.get("timestep_type") == "continuous":
        raise ConfigError(f"The scheduler {name} tells the network a continuous time (timestep_type).", _ADAPT)
    if getattr(scheduler, "alphas_cumprod", None) is None:
        raise ConfigError(f"The scheduler {name} has no alphas_cumprod, so its noise levels are not known.", _ADAPT)
    return DiscreteProcess(scheduler.alphas_cumprod, prediction)


def _cosine(config: Any) -> CosineProcess:
    """Its noise levels and what its model is told of them are those of `CosineProcess` where data has a variance of 1.

    What it calls epsilon prediction is none: it is v with another sign.
    """
    if config.prediction_type != "v_prediction" or config.sigma_data != 1:
        raise ConfigError(
            f"The scheduler {_COSINE} has prediction_type {config.prediction_type!r} and sigma_data "
            f"{config.sigma_data}; known is v_prediction with sigma_data 1, as Stable Audio Open has.",
            _ADAPT,
        )
    return CosineProcess(config.num_train_timesteps)


def _flow(config: Any, shift: float, time_scale: float | None) -> RectifiedFlow:
    steps = config.num_train_timesteps
    return RectifiedFlow(
        shift,
        CONTINUOUS_STEPS if steps == 1 else steps,
        time_scale or steps,
        continuous=steps == 1,
        reverse=bool(config.get("invert_sigmas")),
    )


def _flow_shift(name: str, config: Any) -> float:
    if not config.get("use_flow_sigmas"):
        raise ConfigError(
            f"The scheduler {name} has prediction_type flow_prediction without use_flow_sigmas: its noise levels are "
            "those of no flow.",
            _ADAPT,
        )
    if config.get("use_dynamic_shifting"):
        return 1.0
    return float(config.flow_shift)
