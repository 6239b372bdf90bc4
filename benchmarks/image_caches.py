"""What the caches of latents, prompts and references save a training run of images: time and memory.

    python benchmarks/image_caches.py

Makes a small pipeline of Stable Diffusion's classes with random weights, and pairs of pictures, and trains on them with
the real trainer: DPO in full and through LoRA, and MaPO, which has no reference. `caches.py` says how it is measured.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from caches import Medium, add_options, measure
from PIL import Image as Picture

from modalign.modalities.image.formats.image_pairs import ImagePairs
from modalign.modalities.image.modality import Image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_options(parser)
    parser.add_argument("--resolution", type=int, default=128, help="height and width of the pictures")
    parser.add_argument("--unet", type=int, default=96, help="channels of the UNet's first level")
    parser.add_argument("--vae", type=int, default=16, help="channels of the VAE's first level")
    measure(Medium("images", write_model, write_pairs, modality, ImagePairs), parser.parse_args())


def modality(model: Path, options: argparse.Namespace, **arguments: Any) -> Image:
    """Of the pipeline."""
    return Image(str(model), resolution=options.resolution, **arguments)


def write_pairs(folder: Path, rows: int) -> None:
    """Pairs of coloured noise, as JPEG files."""
    draw = np.random.default_rng(0)
    lines = []
    for row in range(rows):
        line = {"prompt": f"a photo of {row} cats"}
        for role in ("chosen", "rejected"):
            line[role] = f"{row}-{role}.jpg"
            small = Picture.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            small.resize((512, 512), Picture.Resampling.BICUBIC).save(folder / line[role], quality=90)
        lines.append(json.dumps(line) + "\n")
    (folder / "pairs.jsonl").write_text("".join(lines))


def write_model(folder: Path, options: argparse.Namespace) -> None:
    """Stable Diffusion's classes and proportions, smaller: a VAE of factor 8, a UNet of two levels, CLIP."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from tokenizers import pre_tokenizers
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    tokenizer = CLIPTokenizer(vocab={name: n for n, name in enumerate(names)}, merges=[], model_max_length=77)
    text = CLIPTextConfig(
        vocab_size=len(names), hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4
    )
    unet = UNet2DConditionModel(
        sample_size=options.resolution // 8,
        block_out_channels=(options.unet, 2 * options.unet),
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=8,
        cross_attention_dim=128,
    )
    levels = (options.vae, 2 * options.vae, 4 * options.vae, 4 * options.vae)
    vae = AutoencoderKL(
        block_out_channels=levels,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        layers_per_block=2,
        norm_num_groups=8,
        sample_size=options.resolution,
    )
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text).eval(),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


if __name__ == "__main__":
    main()
