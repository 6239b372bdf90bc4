"""Stable Audio's autoencoder of waveforms, which other models have too."""

from collections.abc import Mapping
from math import prod
from typing import Any


def hop_of(config: Mapping[str, Any]) -> int:
    """How many samples make one latent frame of an `AutoencoderOobleck`."""
    return prod(int(ratio) for ratio in config["downsampling_ratios"])
