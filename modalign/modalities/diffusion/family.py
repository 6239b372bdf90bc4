"""What differs between families of diffusion models: their parts, latents, conditioning and noise process."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from modalign.core.errors import ConfigError
from modalign.modalities.diffusion.layouts import PublishedLayout
from modalign.modalities.diffusion.noise_process import Corrupted, NoiseProcess

Conditioning = Mapping[str, Tensor]
"""What the network is conditioned on, by name, each `(N, ...)`: the family's own encoding of prompts."""


class DiffusionFamily(ABC):
    """An adapter around a diffusers pipeline without its denoiser, which is the policy.

    It holds frozen parts only: VAE, text encoders, scheduler. Data workers never hold one.

    Args:
        pipeline: A diffusers pipeline whose denoiser is None.
        denoiser_config: The configuration of the denoiser.
        guidance: The guidance scale that a guidance-distilled denoiser is told; None for the family's own.

    Raises:
        ConfigError: The denoiser is told no guidance scale, or the scheduler is not known.

    Attributes:
        pipelines: Names of the pipeline classes (`_class_name` in model_index.json) that it serves.
        denoiser_part: The component that is trained.
        media_parts: The components that encode media; each may be missing.
        text_parts: The components that encode prompts; each may be missing.
        lora_targets: Modules to adapt where the user names none.
        own_pipelines: Where the classes of those are that diffusers lacks, by name: `package.module:Class`. The module
            imports from its package by `from .name import` alone, since exports copy both into a pipeline's folder.
        reads_denoiser: Whether the pipeline's constructor reads the denoiser's configuration.
        published: A layout of files that this family's models are published in, where that is no diffusers pipeline.
        always_encodes: Whether media are encoded even by a pipeline without any of `media_parts`.
        process: How clean latents are corrupted.
    """

    pipelines: ClassVar[frozenset[str]]
    own_pipelines: ClassVar[Mapping[str, str]] = {}
    published: ClassVar[type[PublishedLayout] | None] = None
    denoiser_part: ClassVar[str] = "unet"
    reads_denoiser: ClassVar[bool] = False
    media_parts: ClassVar[tuple[str, ...]] = ("vae",)
    text_parts: ClassVar[tuple[str, ...]] = ("text_encoder",)
    lora_targets: ClassVar[tuple[str, ...]] = ("to_q", "to_k", "to_v", "to_out.0")
    always_encodes: ClassVar[bool] = False
    process: NoiseProcess

    def __init__(self, pipeline: Any, denoiser_config: Mapping[str, Any], guidance: float | None = None) -> None:
        self.pipeline = pipeline
        self.denoiser_config = denoiser_config
        self.guidance = guidance
        self.check_guidance(denoiser_config, guidance)
        self.process = self.make_process(pipeline.scheduler)

    @classmethod  # noqa: B027
    def check(cls, index: Mapping[str, Any], denoiser_config: Mapping[str, Any]) -> None:
        """Refuse, before weights are read, what is of a known pipeline class and yet cannot be trained.

        Args:
            index: The content of model_index.json.
            denoiser_config: The configuration of the denoiser.

        Raises:
            UserError: Saying what it is, and what to use.
        """

    @classmethod
    def encoder_settings(cls, index: Mapping[str, Any], denoiser_config: Mapping[str, Any]) -> Mapping[str, Any]:
        """What decides `encode_clean` and `encode_prompts` beside the content of the parts that they run.

        Part of the keys of cached latents, prompt encodings and reference likelihoods: whatever those methods read of
        the pipeline's or the denoiser's configuration has to be here, as plain values, and a number to be raised when
        their code changes what they return. No weights are read for it.

        Args:
            index: The content of model_index.json.
            denoiser_config: The configuration of the denoiser.
        """
        return {}

    @classmethod
    def takes_guidance(cls, denoiser_config: Mapping[str, Any]) -> bool:
        """Whether the denoiser is told a guidance scale."""
        return False

    @classmethod
    def checkpoint(cls, denoiser: Any) -> None:
        """Have a denoiser compute activations again in the backward pass, rather than keep them."""
        denoiser.enable_gradient_checkpointing()

    @property
    def encodes_media(self) -> bool:
        """Whether media are encoded at all, rather than denoised as they are."""
        return self.always_encodes or any(getattr(self.pipeline, name, None) is not None for name in self.media_parts)

    @classmethod
    def check_guidance(cls, denoiser_config: Mapping[str, Any], guidance: float | None) -> None:
        """Refuse a guidance scale for a denoiser that is told none.

        Raises:
            ConfigError: Naming the option.
        """
        if guidance is not None and not cls.takes_guidance(denoiser_config):
            raise ConfigError(
                f"modality.guidance is {guidance}, and this model's denoiser is told no guidance scale.",
                "Leave it out; the guidance scale of sampling is an option of sampling.",
            )

    def place(self, parts: Sequence[str], device: torch.device) -> None:
        """Move some of the frozen parts; missing ones are left out."""
        for name in parts:
            part = getattr(self.pipeline, name, None)
            if part is not None and part.device != device:
                part.to(device)

    @contextmanager
    def placed(self, parts: Sequence[str], device: torch.device) -> Iterator[None]:
        """A context in which some of the frozen parts are on a device; then each goes back to where it was."""
        there = {name: part for name in parts if (part := getattr(self.pipeline, name, None)) is not None}
        before = {name: part.device for name, part in there.items()}
        self.place(parts, device)
        try:
            yield
        finally:
            for name, home in before.items():
                self.place((name,), home)
            if device.type == "cuda" and device not in before.values():
                torch.cuda.empty_cache()

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
        """What the text encoders make of N prompts, by name, each `(N, ...)`; "" is the unconditional prompt.

        Where it depends on the prompt how many tokens there are, they are the second dimension; prompts in a batch are
        filled up with zeros to the longest, so one of the tensors has to be the tokens' mask.
        """

    def unconditional(self, empty: Conditioning, captions: Conditioning) -> Conditioning:
        """What the pipeline gives the network beside captions, for guidance away from nothing in particular.

        Where a caption is dropped in training, the network sees this: the empty prompt itself, unless the pipeline has
        it as long as the caption, or something else in its place.

        Args:
            empty: From `encode_prompts`, of "" alone, `(N, ...)`.
            captions: From `encode_prompts`, those that are dropped, `(N, ...)`.

        Returns:
            The same names and shapes.
        """
        return empty

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
