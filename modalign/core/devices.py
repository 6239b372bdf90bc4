"""Devices by the names that users give them."""

import torch

from modalign.core.errors import ConfigError


def device_of(name: str | None) -> torch.device:
    """The device of a name; a GPU where there is one, if None.

    Raises:
        ConfigError: There is no such device on this machine.
    """
    wanted = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter where torch was built without CUDA
        raise ConfigError(f"device {wanted}: there is no such device here", "Give cpu, cuda or cuda:1.") from error
    return device
