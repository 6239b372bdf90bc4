"""Devices by name."""

import pytest
import torch

from modalign.core.devices import device_of
from modalign.core.errors import ConfigError


def test_a_device_by_name_or_what_there_is() -> None:
    assert device_of("cpu") == torch.device("cpu")
    assert device_of(None).type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["abacus", "cuda:99", "cuda:x"])
def test_what_there_is_not_is_told(name: str) -> None:
    with pytest.raises(ConfigError, match=f"device {name}: there is no such device here"):
        device_of(name)


def test_a_gpu_that_cannot_be_used_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*size: int, device: torch.device) -> None:
        raise RuntimeError(f"{device} is broken")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", broken)
    with pytest.raises(ConfigError, match="device cuda: there is no such device here"):
        device_of(None)
