"""Folders of tiny pipelines that denoise one row of latents: real classes, seeded random weights, no network."""

from pathlib import Path
from typing import Any

import torch

from tests.tiny_pipelines import t5_text, t5_tokenizer

WIDTH = 16
LATENT = 8
FRAMES = 16
RATE = 8000
MEL = {"rate": RATE, "mels": LATENT, "fft": 256, "window": 256, "hop": 64, "high": 4000.0, "mean": -5.0, "std": 3.0}


def tangoflux(folder: Path, mel: bool = False, frames: int = FRAMES) -> Path:
    """A `TangoFluxPipeline`: T5, a duration, two transformer blocks.

    Args:
        folder: Where to.
        mel: No VAE: the transformer denoises mel spectrograms.
        frames: Of the window.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler

    from modalign.modalities.audio.pipelines.tangoflux import TangoFluxPipeline
    from modalign.modalities.audio.pipelines.tangoflux_conditioner import TangoFluxConditioner

    torch.manual_seed(4)
    tokenizer = t5_tokenizer()
    pipeline = TangoFluxPipeline(
        transformer=flux_transformer(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        text_encoder=t5_text(tokenizer, WIDTH),
        tokenizer=tokenizer,
        conditioner=TangoFluxConditioner(WIDTH, WIDTH, max_seconds=4.0, frequencies=8),
        vae=None if mel else oobleck(),
        latent_frames=frames,
        prompt_tokens=12,
        mel=MEL if mel else None,
    )
    pipeline.save_pretrained(folder)
    return folder


def flux_transformer() -> Any:
    """Flux's transformer over rows of `LATENT` numbers, one block of each kind."""
    from diffusers import FluxTransformer2DModel

    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=LATENT,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=False,
    )


def oobleck(channels: int = 2) -> Any:
    """A VAE that makes one latent frame of 64 samples."""
    from diffusers import AutoencoderOobleck

    return AutoencoderOobleck(
        encoder_hidden_size=2 * LATENT,
        downsampling_ratios=[4, 4, 4],
        channel_multiples=[1, 1, 2],
        decoder_channels=4,
        decoder_input_channels=LATENT,
        audio_channels=channels,
        sampling_rate=RATE,
    ).eval()
