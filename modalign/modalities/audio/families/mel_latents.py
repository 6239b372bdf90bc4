"""What families share whose latents are those of a mel spectrogram, or the spectrogram itself."""

from abc import abstractmethod
from collections.abc import Mapping
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor

from modalign.core.errors import UserError
from modalign.modalities.audio.families.base import AudioFamily, AudioGeometry, check_numbers, has_part
from modalign.modalities.audio.pipelines.mel import Mel
from modalign.modalities.diffusion.loading import PipelineSource
from modalign.modalities.diffusion.noise_process import NoiseProcess
from modalign.modalities.diffusion.own_pipelines import class_name
from modalign.modalities.diffusion.schedulers import scheduler_process
from modalign.modalities.diffusion.unets import check_unet


class MelFamily(AudioFamily):
    """A UNet over `(N, channels, frames, bands)`: an `AutoencoderKL` of spectrograms, and a HiFi-GAN to hear them."""

    media_parts: ClassVar[tuple[str, ...]] = ("vae", "vocoder")

    @classmethod
    @abstractmethod
    def front_end(cls, index: Mapping[str, Any], vocoder: Mapping[str, Any] | None) -> Mel:
        """How samples become spectrograms.

        Args:
            index: The content of model_index.json.
            vocoder: The configuration of the vocoder; None where there is none.

        Raises:
            UserError: The pipeline does not tell.
        """

    @classmethod
    def check(cls, index: Mapping[str, Any], denoiser_config: Mapping[str, Any]) -> None:
        """See `DiffusionFamily.check`."""
        super().check(index, denoiser_config)
        check_unet(index, denoiser_config, addition=None, wanted="a text-to-audio model")

    @classmethod
    def geometry(cls, source: PipelineSource) -> AudioGeometry:
        """See `AudioFamily.geometry`."""
        index, unet = source.index(), source.config(cls.denoiser_part)
        vae, vocoder = (source.config(part) if has_part(index, part) else None for part in cls.media_parts)
        mel, channels = cls.front_end(index, vocoder), int(unet["in_channels"])
        if vocoder is not None:
            _check_vocoder(mel, vocoder)
        factor = 1 if vae is None else 2 ** (len(vae["block_out_channels"]) - 1)
        check_numbers(channels, 1 if vae is None else int(vae["latent_channels"]))
        if mel.mels % factor:
            raise UserError(
                f"Spectrograms of {mel.mels} bands do not divide by the VAE's {factor}.", "Name a complete pipeline."
            )
        hop, size = mel.hop * factor, unet.get("sample_size")
        frames = size[0] if isinstance(size, list) else size
        return AudioGeometry(
            mel.rate,
            channels=1,
            hop=hop,
            numbers=channels * mel.mels // factor,
            seconds=None if frames is None else frames * hop / mel.rate,
            shortest=mel.shortest,
        )

    @property
    @abstractmethod
    def mel(self) -> Mel:
        """The front end of this pipeline."""

    def make_process(self, scheduler: Any) -> NoiseProcess:
        """See `DiffusionFamily.make_process`."""
        return scheduler_process(scheduler)

    def encode_clean(self, media: Tensor) -> tuple[Tensor, Tensor]:
        """See `DiffusionFamily.encode_clean`; without a VAE, spectrograms are the latents."""
        spectrogram, vae = self.mel.spectrogram(media[:, 0])[:, None], self.pipeline.vae
        if vae is None:
            return spectrogram, torch.zeros_like(spectrogram)
        distribution = vae.encode(spectrogram.to(vae.dtype)).latent_dist
        wide, scale = torch.promote_types(vae.dtype, torch.float32), vae.config.scaling_factor
        return distribution.mean.to(wide) * scale, distribution.std.to(wide) * scale


def saved_mel(index: Mapping[str, Any]) -> Mel:
    """The front end that a pipeline of modalign's own was saved with.

    Args:
        index: The content of model_index.json.

    Raises:
        UserError: It has other settings.
    """
    try:
        return Mel(**(index.get("mel") or {}))
    except TypeError as error:
        raise UserError(
            f"model_index.json has settings of mel spectrograms that are not known: {error}.",
            f"Name a {class_name(index)} as it was saved.",
        ) from error


def _check_vocoder(mel: Mel, vocoder: Mapping[str, Any]) -> None:
    """Refuse a vocoder of other spectrograms.

    Raises:
        UserError: Naming what differs.
    """
    made = {"rate": mel.rate, "hop": mel.hop, "mels": mel.mels}
    taken = dict(
        zip(made, (vocoder["sampling_rate"], prod(vocoder["upsample_rates"]), vocoder["model_in_dim"]), strict=True)
    )
    if made != taken:
        raise UserError(
            f"The pipeline's spectrograms have {made}, and its vocoder is made for {taken}.",
            "Name a complete text-to-audio pipeline.",
        )
