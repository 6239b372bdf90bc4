"""What the caches of latents, prompts and references save a training run of sounds: time and memory.

    python benchmarks/audio_caches.py

Makes a small pipeline of Tango's classes and front end with random weights, and pairs of WAV files, and trains on them
with the real trainer: DPO in full and through LoRA, and MaPO, which has no reference. `caches.py` says how it is
measured.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from caches import Medium, add_options, measure

from modalign.modalities.audio.formats.audio_pairs import AudioPairs
from modalign.modalities.audio.modality import Audio

FILE_RATE = 44100
FILE_SECONDS = 10.24
TEXT_WIDTH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_options(parser)
    parser.add_argument("--seconds", type=float, default=1.28, help="of each sound")
    parser.add_argument("--unet", type=int, default=64, help="channels of the UNet's first level")
    parser.add_argument("--vae", type=int, default=32, help="channels of the VAE's first level")
    measure(Medium("clips", write_model, write_pairs, modality, AudioPairs), parser.parse_args())


def modality(model: Path, options: argparse.Namespace, **arguments: Any) -> Audio:
    """Of the pipeline."""
    return Audio(str(model), seconds=options.seconds, **arguments)


def write_pairs(folder: Path, rows: int) -> None:
    """Pairs of noise of any loudness, as WAV files of ten seconds at 44.1 kHz."""
    draw = np.random.default_rng(0)
    lines = []
    for row in range(rows):
        line = {"prompt": f"{row} dogs bark, followed by rain"}
        for role in ("chosen", "rejected"):
            line[role] = f"{row}-{role}.wav"
            samples = draw.uniform(0.01, 0.3) * draw.standard_normal(round(FILE_RATE * FILE_SECONDS))
            soundfile.write(folder / line[role], samples, FILE_RATE)
        lines.append(json.dumps(line) + "\n")
    (folder / "pairs.jsonl").write_text("".join(lines))


def write_model(folder: Path, options: argparse.Namespace) -> None:
    """Tango's classes, smaller: T5, a UNet of two levels, with attention at the lower one, a VAE, a vocoder."""
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig, T5Config, T5EncoderModel, T5Tokenizer

    from modalign.modalities.audio.pipelines.tango import TangoPipeline

    torch.manual_seed(0)
    letters = [(chr(code), -float(code)) for code in range(ord("a"), ord("z") + 1)]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *letters]
    text = T5Config(
        vocab_size=128, d_model=TEXT_WIDTH, d_kv=32, d_ff=512, num_layers=4, num_heads=4, feed_forward_proj="gated-gelu"
    )
    unet = UNet2DConditionModel(
        sample_size=[round(options.seconds * 25), 16],
        in_channels=8,
        out_channels=8,
        block_out_channels=(options.unet, 2 * options.unet),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8,
        cross_attention_dim=TEXT_WIDTH,
    )
    vae = AutoencoderKL(
        in_channels=1,
        out_channels=1,
        block_out_channels=(options.vae, 2 * options.vae, 4 * options.vae),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=8,
        layers_per_block=2,
        norm_num_groups=8,
    )
    vocoder = SpeechT5HifiGanConfig(
        model_in_dim=64,
        upsample_initial_channel=64,
        upsample_rates=[5, 4, 2, 2, 2],
        upsample_kernel_sizes=[16, 16, 8, 4, 4],
        normalize_before=False,
    )
    TangoPipeline(
        vae=vae,
        text_encoder=T5EncoderModel(text).eval(),
        tokenizer=T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=64),
        unet=unet,
        scheduler=DDPMScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type="v_prediction"
        ),
        vocoder=SpeechT5HifiGan(vocoder).eval(),
    ).save_pretrained(folder)


if __name__ == "__main__":
    main()
