"""Tango and Tango 2 as declare-lab publishes them, written as a `TangoPipeline`."""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, ClassVar

import torch
from torch import Tensor

from modalign.core.errors import UserError
from modalign.modalities.audio.layouts.t5 import part_of, place_of, text_encoder
from modalign.modalities.audio.pipelines.mel import Mel, mel_filters
from modalign.modalities.diffusion.config_file import ConfigFile, read_config
from modalign.modalities.diffusion.layouts import PublishedLayout
from modalign.modalities.explained import explained

FRAMES = 256
"""Of the latents that Tango's code samples, whatever `sample_size` says: 10.24 seconds."""

SCHEDULERS: Mapping[str, Mapping[str, Any]] = {
    "stabilityai/stable-diffusion-2-1": {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "v_prediction",
        "clip_sample": False,
        "steps_offset": 1,
    }
}
"""Those of repositories that are no longer on the hub."""

_UNET = {
    "sample_size": [32, 2],
    "in_channels": 8,
    "out_channels": 8,
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "attention_head_dim": [5, 10, 20, 20],
    "use_linear_projection": True,
    "upcast_attention": True,
}
UNETS: Mapping[str, Mapping[str, Any]] = {
    "diffusion_model_config.json": {**_UNET, "cross_attention_dim": 1024},
    "diffusion_model_xl_config.json": {**_UNET, "cross_attention_dim": 2048},
}
"""What Tango's code, rather than its models, has under `configs`."""

MEL_NAMES = {
    "rate": "sampling_rate",
    "fft": "filter_length",
    "hop": "hop_length",
    "window": "win_length",
    "mels": "n_mel_channels",
    "low": "mel_fmin",
    "high": "mel_fmax",
}


class TangoLayout(PublishedLayout):
    """Three configurations and three files of weights, which are read as tensors alone."""

    name: ClassVar[str] = "tango"
    marker: ClassVar[str] = "pytorch_model_main.bin"
    files: ClassVar[tuple[str, ...]] = (
        *("main_config.json", "vae_config.json", "stft_config.json"),
        *("pytorch_model_main.bin", "pytorch_model_vae.bin", "pytorch_model_stft.bin"),
    )
    optional_files: ClassVar[tuple[str, ...]] = tuple(UNETS)

    @classmethod
    def convert(cls, folder: Path, target: Path) -> None:
        """See `PublishedLayout.convert`."""
        from modalign.modalities.audio.layouts.compvis import autoencoder, vocoder
        from modalign.modalities.audio.pipelines.tango import TangoPipeline

        with explained(f"the Tango model {folder}"):
            main, vae_config = _config(folder, "main"), _config(folder, "vae")
            mel = _front_end(_config(folder, "stft"), _weights(folder, "stft"))
            weights = _weights(folder, "vae")
            vae = autoencoder(vae_config, weights)
            sounding = vocoder(mel.rate, weights, "vocoder.")
            weights = _weights(folder, "main")
            bands = mel.mels // 2 ** (len(vae.config.block_out_channels) - 1)
            encoder, tokenizer = text_encoder(folder, main["text_encoder_name"], weights)
            unet = _unet(folder, main, weights, bands)
            scheduler = _scheduler(folder, main["scheduler_name"])
            pipeline = TangoPipeline(vae, encoder, tokenizer, unet, scheduler, sounding, mel=vars(mel))
            pipeline.save_pretrained(target)


def _config(folder: Path, part: str) -> ConfigFile:
    path = folder / f"{part}_config.json"
    return read_config(path, str(path))


def _weights(folder: Path, part: str) -> dict[str, Tensor]:
    path = folder / f"pytorch_model_{part}.bin"
    try:
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise UserError(
            f"{path} holds more than tensors, or is damaged.", "Objects of other kinds may run code, and are not read."
        ) from error
    return weights


def _front_end(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Mel:
    """Its settings, checked against the filters that are published with them."""
    mel = Mel(**{name: config[published] for name, published in MEL_NAMES.items()})
    ours, theirs = mel_filters(mel), weights["mel_basis"].double()
    if ours.shape != theirs.shape or not torch.allclose(ours, theirs, rtol=1e-4, atol=1e-7):
        raise UserError(
            "pytorch_model_stft.bin has other mel filters than stft_config.json describes.",
            "Name a model that was published with Tango or Tango 2.",
        )
    return mel


def _unet(folder: Path, main: Mapping[str, Any], weights: Mapping[str, Tensor], bands: int) -> Any:
    from diffusers import UNet2DConditionModel

    if main.get("unet_model_name") is not None:
        raise UserError(
            f"This Tango's UNet is {main['unet_model_name']} between layers of its own, which is not trained here.",
            "Name a Tango whose UNet was made for sounds.",
        )
    name = Path(main["unet_model_config_path"]).name
    path = folder / name
    if not path.is_file() and name not in UNETS:
        raise UserError(f"main_config.json names the UNet's configuration {name}, which is not there.", f"Add {path}.")
    config = read_config(path, str(path)) if path.is_file() else UNETS[name]
    unet = UNet2DConditionModel.from_config({**config, "sample_size": [FRAMES, bands]})
    unet.load_state_dict(part_of("unet.", weights))
    return unet.eval()


def _scheduler(folder: Path, name: str) -> Any:
    from diffusers import DDPMScheduler

    if name in SCHEDULERS:
        return DDPMScheduler(**SCHEDULERS[name])
    return DDPMScheduler.from_pretrained(place_of(folder, name, "model_index.json", "scheduler"), subfolder="scheduler")
