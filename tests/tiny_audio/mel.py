"""Folders of tiny pipelines whose latents are those of mel spectrograms: real classes, seeded random weights."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from tests.tiny_pipelines import ddim, t5_text, t5_tokenizer

WIDTH = 16
MEL = {"rate": 8000, "fft": 256, "hop": 64, "window": 256, "mels": 8, "low": 0.0, "high": 4000.0}
"""Of the tiny Tangos; spectrograms of random weights have no scale of their own."""
SCALED = {**MEL, "mean": -5.0, "std": 2.0}


def tango(
    folder: Path, bare: bool = False, prediction_type: str = "v_prediction", mel: Mapping[str, Any] | None = None
) -> Path:
    """A `TangoPipeline`: T5, a UNet of two levels, a VAE of factor 2, a vocoder; made for 0.256 seconds.

    Args:
        folder: Where to.
        bare: Neither VAE nor vocoder: the UNet denoises spectrograms, which are inverted by Griffin and Lim.
        prediction_type: Of the scheduler.
        mel: Settings of the front end.
    """
    from modalign.modalities.audio.pipelines.tango import TangoPipeline

    torch.manual_seed(5)
    settings = dict(mel or (SCALED if bare else MEL))
    tokenizer = t5_tokenizer()
    pipeline = TangoPipeline(
        vae=None if bare else autoencoder(2),
        text_encoder=t5_text(tokenizer, WIDTH),
        tokenizer=tokenizer,
        unet=unet([32, 8], 1) if bare else unet([16, 4], 4),
        scheduler=ddim(prediction_type),
        vocoder=None if bare else hifigan(settings["rate"], settings["mels"], [8, 8]),
        mel=settings,
    )
    pipeline.save_pretrained(folder)
    return folder


def tango_bare(folder: Path) -> Path:
    """A `TangoPipeline` without VAE and vocoder."""
    return tango(folder, bare=True)


def audioldm2(folder: Path, prediction_type: str = "epsilon") -> Path:
    """An `AudioLDM2Pipeline`: CLAP, T5, GPT-2, a UNet of two levels, a VAE of factor 4, a vocoder; for 0.32 seconds."""
    from diffusers import AudioLDM2Pipeline, AudioLDM2ProjectionModel
    from transformers import ClapFeatureExtractor

    torch.manual_seed(6)
    roberta, t5 = roberta_tokenizer(), t5_tokenizer()
    clap = clap_model(len(roberta))
    pipeline = AudioLDM2Pipeline(
        vae=autoencoder(4),
        text_encoder=clap,
        text_encoder_2=t5_text(t5, WIDTH),
        projection_model=AudioLDM2ProjectionModel(clap.config.projection_dim, WIDTH, WIDTH),
        language_model=gpt2(),
        tokenizer=roberta,
        tokenizer_2=t5,
        feature_extractor=ClapFeatureExtractor(feature_size=8),
        unet=audioldm2_unet(),
        scheduler=ddim(prediction_type),
        vocoder=hifigan(16000, 8, [5, 4, 4, 2]),
    )
    pipeline.save_pretrained(folder)
    return folder


PIPELINES: dict[str, Callable[[Path], Path]] = {
    "tango": tango,
    "tango_bare": tango_bare,
    "audioldm2": audioldm2,
}
"""By name, what writes each kind of pipeline into a new folder."""


def unet(sample_size: list[int], channels: int) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=sample_size,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=2,
        norm_num_groups=4,
        cross_attention_dim=WIDTH,
    )


def audioldm2_unet() -> Any:
    """The first cross-attention of a block is to GPT-2's states, the second to T5's tokens."""
    from diffusers import AudioLDM2UNet2DConditionModel

    return AudioLDM2UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=2,
        norm_num_groups=4,
        cross_attention_dim=[[None, WIDTH, WIDTH]] * 2,
    )


def autoencoder(factor: int) -> Any:
    """A VAE of spectrograms, four channels."""
    from diffusers import AutoencoderKL

    blocks = {2: 2, 4: 3}[factor]
    return AutoencoderKL(
        in_channels=1,
        out_channels=1,
        block_out_channels=(8,) * blocks,
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        scaling_factor=0.9,
    ).eval()


def hifigan(rate: int, mels: int, rates: list[int]) -> Any:
    """A vocoder whose hop is the product of `rates`."""
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    config = SpeechT5HifiGanConfig(
        model_in_dim=mels,
        sampling_rate=rate,
        upsample_initial_channel=16,
        upsample_rates=rates,
        upsample_kernel_sizes=[rate + 2 * (rate // 2) for rate in rates],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
        normalize_before=False,
    )
    model = SpeechT5HifiGan(config).eval()
    for part in model.modules():  # as initialised by transformers, it hardly sounds
        if isinstance(part, torch.nn.Conv1d | torch.nn.ConvTranspose1d):
            torch.nn.init.kaiming_normal_(part.weight)
    return model


def clap_model(vocabulary: int) -> Any:
    from transformers import ClapConfig, ClapModel

    small = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "projection_dim": WIDTH}
    text = {**small, "vocab_size": vocabulary, "intermediate_size": WIDTH, "max_position_embeddings": 44}
    audio = {
        "patch_embeds_hidden_size": 4,
        "hidden_size": 8,
        "depths": [1, 1],
        "num_attention_heads": [1, 1],
        "spec_size": 16,
        "window_size": 2,
        "num_mel_bins": 8,
        "projection_dim": WIDTH,
    }
    return ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=WIDTH)).eval()


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=4, n_positions=64, n_embd=WIDTH, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
    config.max_new_tokens = 8
    return GPT2LMHeadModel(config).eval()


def roberta_tokenizer() -> Any:
    """CLAP's tokenizer over bytes."""
    from tokenizers import pre_tokenizers
    from transformers import RobertaTokenizer

    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    return RobertaTokenizer(vocab={name: number for number, name in enumerate(names)}, merges=[], model_max_length=40)
