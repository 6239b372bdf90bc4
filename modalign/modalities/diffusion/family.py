"""What differs between families of diffusion models: their parts, latents, conditioning and noise process."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from modalign.modalities.diffusion.noise_process import Corrupted, NoiseProcess

Conditioning = Mapping[str, Tensor]
"""What the network is conditioned on, by name, each `(N, ...)`: the family's own encoding of prompts."""


class DiffusionFamily(ABC):
    """An adapter around a diffusers pipeline without its denoiser, which is the policy.

    It holds frozen parts only: VAE, text encoders, scheduler. Data workers never hold one.

    Args:
        pipeline: A diffusers pipeline whose denoiser is None.
        denoiser_config: The configuration of the denoiser.

    Attributes:
        pipelines: Names of the pipeline classes (`_class_name` in model_index.json) that it serves.
        denoiser_part: The component that is trained.
        text_parts: The components that are needed to encode prompts, and no longer once all prompts are.
        lora_targets: Modules to adapt where the user names none.
        process: How clean latents are corrupted.
    """

    pipelines: ClassVar[frozenset[str]]
    denoiser_part: ClassVar[str] = "unet"
    text_parts: ClassVar[tuple[str, ...]] = ("text_encoder",)
    lora_targets: ClassVar[tuple[str, ...]] = ("to_q", "to_k", "to_v", "to_out.0")
    process: NoiseProcess

    def __init__(self, pipeline: Any, denoiser_config: Mapping[str, Any]) -> None:
        self.pipeline = pipeline
        self.denoiser_config = denoiser_config
        self.process = self.make_process(pipeline.scheduler)

    @abstractmethod
    def make_process(self, scheduler: Any) -> NoiseProcess:
        """The noise process that this scheduler was configured for."""

    @abstractmethod
    def encode_clean(self, media: Tensor) -> tuple[Tensor, Tensor]:
        """The distribution of clean latents, as the denoiser takes them (shifted and scaled).

        Args:
            media: `(N, 3, H, W)` pixels in [-1, 1] for images, `(N, channels, samples)` for sounds.

        Returns:
            Mean and standard deviation, of one shape; the standard deviation is 0 where the encoder is deterministic.
        """

    @abstractmethod
    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """What the text encoders make of N prompts, by name, each `(N, ...)`; "" is the unconditional prompt."""

    def corrupt(self, clean: Tensor, noise: Tensor, position: Tensor) -> Corrupted:
        """Corrupt latents; see `NoiseProcess.corrupt`."""
        return self.process.corrupt(clean, noise, position)

    @abstractmethod
    def predict(
        self, denoiser: nn.Module, noisy: Tensor, time: Tensor, text: Conditioning, numbers: Tensor | None
    ) -> Tensor:
        """Run the denoiser.

        Args:
            denoiser: The policy or a reference.
            noisy: `(N, ...)` latents.
            time: `(N,)`, from `corrupt`.
            text: From `encode_prompts`.
            numbers: `(N, M)`, what else a medium tells (for images: original height and width, top and left of the
                crop, height and width); None where the modality has none.

        Returns:
            What `corrupt`'s target should be, in the same layout.
        """
