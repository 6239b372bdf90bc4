"""Sounds for those loggers that play them."""

from collections.abc import Iterable, Mapping
from typing import Any

from lightning.pytorch.loggers import Logger
from torch import Tensor


def log_sounds(loggers: Iterable[Logger], name: str, sounds: Mapping[str, tuple[Tensor, int]], step: int) -> None:
    """Hand sounds to TensorBoard, Weights & Biases, or any logger with a method `log_audio` like theirs.

    Args:
        loggers: Of the run; others than these are passed over.
        name: What the sounds show.
        sounds: By what each is called: `(channels, frames)` samples, of which 1 is full scale, and the rate.
        step: Optimiser steps so far.
    """
    for logger in loggers if sounds else ():
        experiment: Any = getattr(logger, "experiment", None)
        if hasattr(logger, "log_audio"):
            audios = [_in_range(samples).T.numpy() for samples, _ in sounds.values()]
            rates = [rate for _, rate in sounds.values()]
            logger.log_audio(key=name, audios=audios, step=step, sample_rate=rates, caption=list(sounds))
        elif hasattr(experiment, "add_audio"):
            for title, (samples, rate) in sounds.items():
                mono = _in_range(samples).mean(0, keepdim=True)  # TensorBoard plays no stereo
                experiment.add_audio(f"{name}/{title}", mono, global_step=step, sample_rate=rate)


def _in_range(samples: Tensor) -> Tensor:
    """Loggers write integers, which hold nothing beyond full scale."""
    return samples.detach().float().cpu().clamp(-1, 1)
