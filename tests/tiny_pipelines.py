"""Folders of tiny diffusers pipelines: real classes, seeded random weights, tokenizers made here, no network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

WORDS = (
    "a an the of in on and with red green blue yellow white black big small circle square triangle star cat dog house "
    "tree photo drawing picture bright dark zero one two three four five six seven eight nine ten"
)
TEXT_WIDTH = 16
PROMPT_TOKENS = 16


def stable_diffusion(
    folder: Path, prediction_type: str = "epsilon", pixels: bool = False, sample_size: int = 8, in_channels: int = 4
) -> Path:
    """A `StableDiffusionPipeline`: CLIP, a UNet of two levels, a VAE of factor 2.

    Args:
        folder: Where to.
        prediction_type: Of the scheduler.
        pixels: No VAE: the UNet denoises RGB pixels.
        sample_size: Height and width that the UNet denoises.
        in_channels: Of the UNet, where it denoises latents.
    """
    from diffusers import StableDiffusionPipeline

    torch.manual_seed(0)
    channels = 3 if pixels else in_channels
    tokenizer = clip_tokenizer()
    pipeline = StableDiffusionPipeline(
        vae=None if pixels else autoencoder(),
        text_encoder=clip_text(tokenizer),
        tokenizer=tokenizer,
        unet=unet(sample_size, channels, 3 if pixels else 4),
        scheduler=ddim(prediction_type),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


def stable_diffusion_xl(folder: Path, prediction_type: str = "epsilon", sample_size: int = 8) -> Path:
    """A `StableDiffusionXLPipeline`: two CLIP text encoders, micro-conditioning."""
    from diffusers import StableDiffusionXLPipeline

    torch.manual_seed(1)
    tokenizer = clip_tokenizer()
    projected = clip_text(tokenizer, projection=8)
    pipeline = StableDiffusionXLPipeline(
        vae=autoencoder(),
        text_encoder=clip_text(tokenizer),
        text_encoder_2=projected,
        tokenizer=tokenizer,
        tokenizer_2=clip_tokenizer(),
        unet=unet(
            sample_size,
            cross_attention_dim=2 * TEXT_WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=8 + 6 * 8,
        ),
        scheduler=ddim(prediction_type),
        add_watermarker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


def stable_diffusion_3(
    folder: Path, shift: float = 3.0, encoders: tuple[bool, bool, bool] = (True, True, True)
) -> Path:
    """A `StableDiffusion3Pipeline`: two CLIPs and T5, any of which may be left out; a rectified flow."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    torch.manual_seed(2)
    tokenizers = clip_tokenizer(), clip_tokenizer(), t5_tokenizer()
    texts: list[Any] = [clip_text(tokenizers[0], 16), clip_text(tokenizers[1], 16), t5_text(tokenizers[2], 32)]
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        out_channels=4,
        pos_embed_max_size=16,
        dual_attention_layers=(0,),
        qk_norm="rms_norm",
    )
    kept = dict[str, Any]()
    for name, there, text, tokenizer in zip(("", "_2", "_3"), encoders, texts, tokenizers, strict=True):
        kept |= {f"text_encoder{name}": text if there else None, f"tokenizer{name}": tokenizer if there else None}
    pipeline = StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=shift),
        vae=autoencoder(shift_factor=0.1),
        **kept,
    )
    pipeline.save_pretrained(folder)
    return folder


def flux(folder: Path, guidance_embeds: bool = True, dynamic: bool = True) -> Path:
    """A `FluxPipeline`: CLIP and T5, packed latents; `dynamic` shifts times by the resolution."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    torch.manual_seed(3)
    clip, t5 = clip_tokenizer(), t5_tokenizer()
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=TEXT_WIDTH,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=guidance_embeds,
    )
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0 if dynamic else 1.0, use_dynamic_shifting=dynamic),
        vae=autoencoder(shift_factor=0.1),
        text_encoder=clip_text(clip),
        tokenizer=clip,
        text_encoder_2=t5_text(t5, 32),
        tokenizer_2=t5,
        transformer=transformer,
    )
    pipeline.save_pretrained(folder)
    return folder


PIPELINES: dict[str, Callable[[Path], Path]] = {
    "stable_diffusion": stable_diffusion,
    "stable_diffusion_v": lambda folder: stable_diffusion(folder, prediction_type="v_prediction"),
    "stable_diffusion_pixels": lambda folder: stable_diffusion(folder, pixels=True),
    "stable_diffusion_xl": stable_diffusion_xl,
    "stable_diffusion_3": stable_diffusion_3,
    "flux": flux,
}
"""By name, what writes each kind of pipeline into a new folder."""


def ddim(prediction_type: str) -> Any:
    """Stable Diffusion's noise schedule."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
    )


def unet(sample_size: int, in_channels: int = 4, out_channels: int = 4, **options: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=sample_size,
        in_channels=in_channels,
        out_channels=out_channels,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        norm_num_groups=4,
        **{"cross_attention_dim": TEXT_WIDTH, **options},
    )


def autoencoder(shift_factor: float | None = None) -> Any:
    """A VAE that halves height and width into four channels."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=16,
        scaling_factor=0.5,
        shift_factor=shift_factor,
    )


def clip_tokenizer() -> Any:
    """CLIP's tokenizer over bytes and the `WORDS`."""
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = list(dict.fromkeys(merge for word in WORDS.split() for merge in _merges(word)))
    names = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    names += [first + second for first, second in merges]
    vocabulary = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=PROMPT_TOKENS)


def _merges(word: str) -> list[tuple[str, str]]:
    """What joins a word's letters from left to right."""
    parts = [*word[:-1], f"{word[-1]}</w>"]
    return [("".join(parts[:end]), parts[end]) for end in range(1, len(parts))]


def clip_text(tokenizer: Any, projection: int | None = None) -> Any:
    """CLIP's text model; with a projection, the class that has one."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        projection_dim=projection or TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=PROMPT_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return (CLIPTextModel if projection is None else CLIPTextModelWithProjection)(config).eval()


def t5_tokenizer() -> Any:
    """T5's tokenizer over letters and the `WORDS`."""
    from transformers import T5Tokenizer

    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,-"
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    pieces += [(f"\u2581{word}", -1.0) for word in WORDS.split()] + [(letter, -3.0) for letter in letters]
    pieces = list(dict(pieces).items())
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=PROMPT_TOKENS)


def t5_text(tokenizer: Any, width: int) -> Any:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=width,
        d_kv=8,
        d_ff=width,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
    )
    return T5EncoderModel(config).eval()
