"""A run of images says how strong its objective is at its resolution, from configuration files alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from modalign.core.objectives.pairwise import Dpo
from modalign.modalities.image.modality import Image

PARTS = {
    "StableDiffusionPipeline": ("unet", "UNet2DConditionModel", {"in_channels": 4, "sample_size": 64}, 4),
    "StableDiffusion3Pipeline": (
        "transformer",
        "SD3Transformer2DModel",
        {"in_channels": 16, "sample_size": 128, "patch_size": 2},
        16,
    ),
}


def configured(folder: Path, pipeline: str) -> Path:
    """The configuration of a released model's geometry, without weights."""
    part, kind, config, channels = PARTS[pipeline]
    text = ["transformers", "CLIPTextModel"]
    parts = {part: ["diffusers", kind], "vae": ["diffusers", "AutoencoderKL"], "text_encoder": text}
    files: dict[str, Any] = {
        "model_index.json": {"_class_name": pipeline, **parts},
        f"{part}/config.json": {"_class_name": kind, "out_channels": channels, **config},
        "vae/config.json": {"block_out_channels": [128, 256, 512, 512], "latent_channels": channels},
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("pipeline", "resolution", "words"),
    [
        ("StableDiffusionPipeline", None, "0.153 per unit of squared error at 512x512 (16,384 latent numbers)"),
        ("StableDiffusionPipeline", 1024, "0.0381 per unit of squared error at 1024x1024 (65,536 latent numbers)"),
        ("StableDiffusion3Pipeline", None, "0.00954 per unit of squared error at 1024x1024 (262,144 latent numbers)"),
    ],
)
def test_released_models(tmp_path: Path, pipeline: str, resolution: int | None, words: str) -> None:
    (note,) = Image(str(configured(tmp_path, pipeline)), resolution=resolution).start_notes(Dpo(beta=2500))
    assert words in note
    assert "pulls a quarter as hard" in note
