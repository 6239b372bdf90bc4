"""What TangoFlux's transformer is told of a prompt and a duration, beside the prompt's tokens."""

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.pipelines.stable_audio.modeling_stable_audio import StableAudioNumberConditioner
from torch import Tensor, nn


class TangoFluxConditioner(ModelMixin, ConfigMixin):
    """TangoFlux's `fc` and duration embedder (Hung et al. 2024, arXiv 2412.21037, Section 2.1).

    Args:
        text_dim: Width of the text encoder's states.
        pooled_dim: Width of the summary that the transformer takes.
        max_seconds: The longest duration that is told apart from longer ones.
        frequencies: Width of the duration's Fourier features, an even number.
    """

    @register_to_config
    def __init__(
        self, text_dim: int = 1024, pooled_dim: int = 1024, max_seconds: float = 30.0, frequencies: int = 256
    ) -> None:
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(text_dim, pooled_dim), nn.ReLU())
        self.duration = StableAudioNumberConditioner(text_dim, 0.0, max_seconds, frequencies)

    def pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        """A summary of a prompt.

        Args:
            states: `(N, T, text_dim)` of the text encoder.
            mask: `(N, T)` bool, which tokens there are.

        Returns:
            `(N, pooled_dim)`.
        """
        weights = mask.unsqueeze(-1).to(states.dtype)
        summary: Tensor = self.fc((states * weights).sum(1) / weights.sum(1))
        return summary

    def forward(self, seconds: Tensor) -> Tensor:
        """`(N, 1, text_dim)`: a token for each of `(N,)` durations in seconds."""
        token: Tensor = self.duration(seconds.to(torch.float32))
        return token
