"""What families of audio models share: a waveform or mel front end, and the pipeline that samples."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from modalign.core.errors import ConfigError, UserError
from modalign.modalities.diffusion.family import DiffusionFamily
from modalign.modalities.diffusion.loading import PipelineSource


@dataclass(frozen=True)
class AudioGeometry:
    """From samples to latents.

    Attributes:
        rate: Samples a second that the model works at.
        channels: 1 for mono, 2 for stereo.
        hop: How many samples make one latent frame.
        numbers: How many numbers a latent frame has.
        multiple: What the count of latent frames must be a multiple of.
        seconds: How long a clip the denoiser was made for; None where it does not say.
        longest: The longest clip that the denoiser has positions for, in seconds; None for no limit.
        window: How many latent frames the pipeline makes however long a clip is asked for, which it then cuts; None
            where it makes as many as the clip has.
        shortest: The shortest clip that can be encoded, in seconds.
    """

    rate: int
    channels: int
    hop: int
    numbers: int
    multiple: int = 1
    seconds: float | None = None
    longest: float | None = None
    window: int | None = None
    shortest: float = 0.0

    def frames(self, seconds: float) -> int:
        """How many latent frames a clip of so many seconds has: the nearest count that the denoiser takes."""
        if self.window is not None:
            return self.window
        step = self.hop * self.multiple
        return max(round(seconds * self.rate / step), 1) * self.multiple

    def samples(self, seconds: float) -> int:
        """How many samples those latent frames stand for."""
        return self.frames(seconds) * self.hop

    def latents(self, seconds: float) -> int:
        """How many numbers the latents of a clip have."""
        return self.frames(seconds) * self.numbers

    def check(self, option: str, seconds: float) -> None:
        """Refuse a length that the model does not take.

        Raises:
            ConfigError: Naming the option.
        """
        if not seconds > 0:
            raise ConfigError(f"{option} is {seconds}; it counts seconds.", "Give a number above 0.")
        if self.longest is not None and seconds > self.longest + self.hop / self.rate:
            raise ConfigError(
                f"{option} is {seconds}, and this model takes at most {self.longest:.4g} seconds.",
                "Give a smaller one.",
            )
        if self.samples(seconds) < self.shortest * self.rate:
            raise ConfigError(
                f"{option} is {seconds}, and this model takes at least {self.shortest:.4g} seconds.",
                "Give a larger one.",
            )

    def check_window(self, option: str, seconds: float) -> None:
        """Refuse a length of training that the model does not take.

        Raises:
            ConfigError: Naming the option.
        """
        self.check(option, seconds)
        if self.window is not None and abs(seconds * self.rate / self.hop - self.window) > 1:
            made = self.window * self.hop / self.rate
            raise ConfigError(
                f"{option} is {seconds}, and this model makes {made:.4g} seconds whatever it is asked for.",
                "Leave it out: shorter sounds are filled up, and the model is told how long they last.",
            )


@dataclass(frozen=True)
class SamplingRequest:
    """Clips that a pipeline is asked for at once.

    Attributes:
        prompts: One a clip.
        negative_prompt: What to keep away from; "" for nothing in particular.
        seconds: How long each clip is.
        steps: Denoising steps; None for the pipeline's own.
        guidance_scale: 1 is without guidance; None for the pipeline's own.
        generators: One a clip: its noise depends on nothing else.
    """

    prompts: Sequence[str]
    negative_prompt: str
    seconds: float
    steps: int | None
    guidance_scale: float | None
    generators: Sequence[torch.Generator]


class AudioFamily(DiffusionFamily):
    """A pipeline of sounds.

    `numbers` of `predict` are `(start, end)` in seconds: which part of the clip's window is sound, rather than padding.

    Attributes:
        optional_parts: Encoders that a pipeline of this family may lack.
        tells_seconds: Whether it depends on the length of the window of training what prompts are encoded as.
        seconds: That length; None where nobody set it.
    """

    optional_parts: ClassVar[frozenset[str]] = frozenset()
    tells_seconds: ClassVar[bool] = False
    seconds: float | None = None
    always_encodes: ClassVar[bool] = True  # into a spectrogram, where there is nothing else

    @classmethod
    def check(cls, index: Mapping[str, Any], denoiser_config: Mapping[str, Any]) -> None:
        """See `DiffusionFamily.check`."""
        for part in (*cls.media_parts, *cls.text_parts):
            if not has_part(index, part) and part not in cls.optional_parts:
                raise UserError(
                    f"This {index.get('_class_name')} has no {part}: model_index.json names none.",
                    "Name a complete pipeline.",
                )

    @classmethod
    @abstractmethod
    def geometry(cls, source: PipelineSource) -> AudioGeometry:
        """How samples become latents, from configuration files alone.

        Raises:
            UserError: The pipeline's parts do not fit each other.
        """

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """`(N, channels, samples)` waveforms of `(N, ...)` latents as `encode_clean` makes them.

        By the pipeline's own decoder and vocoder; samples are `latent frames * hop`, as near as the vocoder comes.
        """

    @abstractmethod
    def call(self, pipeline: Any, request: SamplingRequest) -> Tensor:
        """Run the real pipeline.

        Args:
            pipeline: The family's, complete, with a policy in it.
            request: What to make.

        Returns:
            `(N, channels, samples)` float32, on any device.

        Raises:
            UserError: The pipeline does not take an option of the request.
        """

    def check_request(self, seconds: float, guidance_scale: float | None, negative_prompt: str) -> None:
        """Refuse options that this family's sampling would ignore.

        Raises:
            UserError: Naming the option.
        """
        if negative_prompt and guidance_scale is not None and guidance_scale <= 1:
            raise UserError(
                f"Sampling: negative_prompt is given, and guidance_scale {guidance_scale} is without guidance.",
                "Give a guidance_scale above 1, or no negative_prompt.",
            )


def has_part(index: Mapping[str, Any], part: str) -> bool:
    """Whether a pipeline was saved with one of its parts.

    Args:
        index: The content of model_index.json.
        part: Its name there.
    """
    return (index.get(part) or [None])[0] is not None


def check_numbers(taken: int, made: int) -> None:
    """Refuse an autoencoder and a denoiser whose latent frames differ in width.

    Raises:
        UserError: They do.
    """
    if taken != made:
        raise UserError(
            f"The denoiser takes latents of {taken} numbers, and this pipeline makes latents of {made}.",
            "Name a complete text-to-audio pipeline.",
        )


def chosen(**options: Any) -> dict[str, Any]:
    """The options that are not left to the pipeline."""
    return {name: value for name, value in options.items() if value is not None}
