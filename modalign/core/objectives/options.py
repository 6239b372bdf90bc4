"""Checks of hyper-parameters: a value without meaning is refused when the objective is built, not when it trains."""

import math
from collections.abc import Sequence

from modalign.core.errors import ConfigError, did_you_mean


def positive(option: str, value: float) -> float:
    """`value`, if it is a finite number above 0.

    Raises:
        ConfigError: It is not; the message names the option, the value and the range.
    """
    return _number(option, value, value > 0, "above 0")


def not_negative(option: str, value: float) -> float:
    """`value`, if it is a finite number of at least 0.

    Raises:
        ConfigError: It is not; the message names the option, the value and the range.
    """
    return _number(option, value, value >= 0, "of at least 0")


def finite(option: str, value: float) -> float:
    """`value`, if it is a finite number.

    Raises:
        ConfigError: It is not; the message names the option and the value.
    """
    return _number(option, value, True, "of any sign")


def share(option: str, value: float) -> float:
    """`value`, if it is a number between 0 and 1, neither of them.

    Raises:
        ConfigError: It is not; the message names the option, the value and the range.
    """
    return _number(option, value, 0 < value < 1, "above 0 and below 1")


def flip_probability(option: str, value: float) -> float:
    """`value`, if it is a probability below one half. At one half, a label says nothing.

    Raises:
        ConfigError: It is not; the message names the option, the value and the range.
    """
    return _number(option, value, 0 <= value < 0.5, "of at least 0 and below 0.5")


def one_of(option: str, value: str, choices: Sequence[str]) -> str:
    """`value`, if it is among the choices.

    Raises:
        ConfigError: It is not; the message names the option, the value and the choices.
    """
    if value not in choices:
        raise ConfigError(f"The objective's {option} is {value!r}.", f"{option}: {did_you_mean(str(value), choices)}")
    return value


def _number(option: str, value: float, in_range: bool, allowed: str) -> float:
    if not in_range or not math.isfinite(value):
        raise ConfigError(f"The objective's {option} is {value!r}.", f"Give {option} a finite number {allowed}.")
    return float(value)
