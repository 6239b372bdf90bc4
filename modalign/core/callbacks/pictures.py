"""Pictures for those loggers that take them."""

from collections.abc import Iterable
from typing import Any

from lightning.pytorch.loggers import Logger


def log_picture(loggers: Iterable[Logger], name: str, picture: Any, step: int) -> None:
    """Hand a picture to TensorBoard, Weights & Biases, or any logger with a method `log_image` like theirs.

    Args:
        loggers: Of the run; others than these are passed over.
        name: What the picture shows.
        picture: A PIL image.
        step: Optimiser steps so far.
    """
    for logger in loggers:
        experiment: Any = getattr(logger, "experiment", None)
        if hasattr(logger, "log_image"):
            logger.log_image(key=name, images=[picture], step=step)
        elif hasattr(experiment, "add_image"):
            import numpy

            pixels = numpy.asarray(picture.convert("RGB"))
            experiment.add_image(name, pixels, global_step=step, dataformats="HWC")
