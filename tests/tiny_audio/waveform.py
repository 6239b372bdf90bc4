"""Folders of tiny pipelines that denoise one row of latents: real classes, seeded random weights, no network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.tiny_pipelines import t5_text, t5_tokenizer

WIDTH = 16
LATENT = 8
FRAMES = 16
RATE = 8000
SLOW_RATE = 500
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


def tangoflux_mel(folder: Path) -> Path:
    """A `TangoFluxPipeline` over mel spectrograms."""
    return tangoflux(folder, mel=True)


def stable_audio(folder: Path) -> Path:
    """A `StableAudioPipeline` of stereo windows of `FRAMES` latent frames."""
    from diffusers import CosineDPMSolverMultistepScheduler, StableAudioDiTModel, StableAudioPipeline
    from diffusers.pipelines.stable_audio import StableAudioProjectionModel

    torch.manual_seed(5)
    tokenizer = t5_tokenizer()
    pipeline = StableAudioPipeline(
        vae=oobleck(),
        text_encoder=t5_text(tokenizer, WIDTH),
        projection_model=StableAudioProjectionModel(WIDTH, 12, 0, 4),
        tokenizer=tokenizer,
        transformer=StableAudioDiTModel(
            sample_size=FRAMES,
            in_channels=LATENT,
            out_channels=LATENT,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            num_key_value_attention_heads=1,
            cross_attention_dim=16,
            time_proj_dim=8,
            global_states_input_dim=24,
            cross_attention_input_dim=12,
        ),
        scheduler=CosineDPMSolverMultistepScheduler(),
    )
    pipeline.save_pretrained(folder)
    return folder


def stable_audio_3(folder: Path, stochastic: bool = True) -> Path:
    """A `StableAudio3Pipeline`; `stochastic` as the distilled models sample."""
    from diffusers import (
        AutoencoderSAME,
        FlowMatchEulerDiscreteScheduler,
        StableAudio3DiTModel,
        StableAudio3DurationEmbedder,
        StableAudio3Pipeline,
    )

    torch.manual_seed(6)
    tokenizer = t5_tokenizer()
    transformer = StableAudio3DiTModel(
        io_channels=LATENT,
        embed_dim=16,
        depth=2,
        num_heads=2,
        cond_token_dim=WIDTH,
        global_cond_dim=WIDTH,
        local_add_cond_dim=LATENT + 1,
        timestep_features_dim=8,
        num_memory_tokens=2,
    )
    vae = AutoencoderSAME(
        patch_size=16,
        encoder_channels=8,
        encoder_c_mults=(2,),
        encoder_strides=(4,),
        encoder_transformer_depths=(1,),
        latent_dim=LATENT,
        dim_heads=8,
        sampling_rate=RATE,
    )
    for parameter in vae.parameters():  # else sounds are the same whatever the latents
        torch.nn.init.normal_(parameter, std=0.3)
    pipeline = StableAudio3Pipeline(
        vae=vae.eval(),
        text_encoder=t5gemma_text(tokenizer),
        tokenizer=tokenizer,
        duration_embedder=StableAudio3DurationEmbedder(output_dim=WIDTH, fourier_dim=8, max_val=4.0),
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, stochastic_sampling=stochastic),
    )
    pipeline.save_pretrained(folder)
    return folder


def longcat_audio(folder: Path) -> Path:
    """A `LongCatAudioDiTPipeline` of mono sounds; no layer is zero, as some are before training."""
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        LongCatAudioDiTPipeline,
        LongCatAudioDiTTransformer,
        LongCatAudioDiTVae,
    )
    from transformers import UMT5Config, UMT5EncoderModel

    torch.manual_seed(7)
    tokenizer = t5_tokenizer()
    text = UMT5Config(vocab_size=len(tokenizer), d_model=WIDTH, d_kv=8, d_ff=WIDTH, num_layers=1, num_heads=2)
    transformer = LongCatAudioDiTTransformer(
        dit_dim=16, dit_depth=2, dit_heads=2, dit_text_dim=WIDTH, latent_dim=LATENT, ff_mult=2.0
    )
    for parameter in transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    vae = LongCatAudioDiTVae(
        channels=8,
        c_mults=[1, 1, 2],
        strides=[4, 4, 4],
        latent_dim=LATENT,
        encoder_latent_dim=2 * LATENT,
        sample_rate=RATE,
        downsampling_ratio=64,
    )
    pipeline = LongCatAudioDiTPipeline(
        vae=vae.eval(),
        text_encoder=UMT5EncoderModel(text).eval(),
        tokenizer=tokenizer,
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
    )
    pipeline.save_pretrained(folder)
    return folder


def ace_step(folder: Path, turbo: bool = False) -> Path:
    """An `AceStepPipeline` of stereo sounds; of few latents a second, since half a minute of them is the timbre."""
    from diffusers import AceStepPipeline, AceStepTransformer1DModel, FlowMatchEulerDiscreteScheduler
    from diffusers.pipelines.ace_step import AceStepConditionEncoder

    torch.manual_seed(8)
    tokenizer = qwen_tokenizer()
    sizes = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 16}
    condition_encoder = AceStepConditionEncoder(
        hidden_size=24,
        text_hidden_dim=WIDTH,
        timbre_hidden_dim=LATENT,
        num_lyric_encoder_hidden_layers=1,
        num_timbre_encoder_hidden_layers=1,
        sliding_window=8,
        **sizes,
    )
    torch.nn.init.normal_(condition_encoder.silence_latent)
    pipeline = AceStepPipeline(
        vae=oobleck(rate=SLOW_RATE),
        text_encoder=qwen_text(tokenizer),
        tokenizer=tokenizer,
        transformer=AceStepTransformer1DModel(
            hidden_size=16,
            num_hidden_layers=2,
            in_channels=3 * LATENT,
            audio_acoustic_hidden_dim=LATENT,
            sliding_window=4,
            encoder_hidden_size=24,
            is_turbo=turbo,
            **sizes,
        ),
        condition_encoder=condition_encoder.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1),
    )
    pipeline.save_pretrained(folder)
    return folder


def ace_step_turbo(folder: Path) -> Path:
    """An `AceStepPipeline` that samples without guidance, of the same weights."""
    return ace_step(folder, turbo=True)


PIPELINES: dict[str, Callable[[Path], Path]] = {
    "stable_audio": stable_audio,
    "stable_audio_3": stable_audio_3,
    "longcat_audio": longcat_audio,
    "ace_step": ace_step,
    "ace_step_turbo": ace_step_turbo,
    "tangoflux": tangoflux,
    "tangoflux_mel": tangoflux_mel,
}
"""By name, what writes each kind of pipeline into a new folder."""


def t5gemma_text(tokenizer: Any) -> Any:
    """T5Gemma's encoder, one layer of `WIDTH`."""
    from transformers import T5GemmaConfig, T5GemmaEncoderModel, T5GemmaModuleConfig

    module = T5GemmaModuleConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        query_pre_attn_scalar=8,
        layer_types=["full_attention"],
    )
    config = T5GemmaConfig(encoder=module, decoder=module, is_encoder_decoder=False, vocab_size=len(tokenizer))
    return T5GemmaEncoderModel(config).eval()


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


def qwen_tokenizer() -> Any:
    """Qwen's tokenizer over bytes."""
    from tokenizers import pre_tokenizers
    from transformers import Qwen2Tokenizer

    names = ["<|endoftext|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    return Qwen2Tokenizer(vocab={name: number for number, name in enumerate(names)}, merges=[])


def qwen_text(tokenizer: Any) -> Any:
    """Qwen3 without its head, one layer of `WIDTH`."""
    from transformers import Qwen3Config, Qwen3Model

    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
    )
    return Qwen3Model(config).eval()


def oobleck(channels: int = 2, rate: int = RATE) -> Any:
    """A VAE that makes one latent frame of 64 samples."""
    from diffusers import AutoencoderOobleck

    return AutoencoderOobleck(
        encoder_hidden_size=2 * LATENT,
        downsampling_ratios=[8, 8],
        channel_multiples=[1, 2],
        decoder_channels=4,
        decoder_input_channels=LATENT,
        audio_channels=channels,
        sampling_rate=rate,
    ).eval()
