"""From a hub id or folder of a diffusers pipeline to its denoiser and its frozen parts."""

from torch import nn

from modalign.modalities.diffusion.family import DiffusionFamily


def load_family(model: str) -> DiffusionFamily:
    """The pipeline without its denoiser, in the adapter that its class name calls for."""
    raise NotImplementedError(model)


def load_denoiser(model: str) -> nn.Module:
    """The denoiser alone."""
    raise NotImplementedError(model)
