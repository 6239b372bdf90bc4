"""A tiny CLIP and a tiny LLaVA, written once, and scenes to describe."""

from pathlib import Path

import pytest
import torch

from tests.modalities.vision_language.build.scenes import write_scenes
from tests.tiny_pipelines import clip_tokenizer
from tests.tiny_vlms import build

SIDE = 16


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP model of transformers with random weights."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    tokenizer = clip_tokenizer()
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**small, "vocab_size": len(tokenizer), "max_position_embeddings": 12}
    vision = {**small, "image_size": SIDE, "patch_size": 8}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    for parameter in model.parameters():
        parameter.data.mul_(4).add_(0.01)  # random vectors of the usual scale hardly differ between images
    folder = tmp_path_factory.mktemp("clip")
    model.save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    CLIPProcessor(images, tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def llava_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaVA with random weights."""
    return build("llava", tmp_path_factory.mktemp("llava") / "model")


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """A file of 24 described scenes."""
    return write_scenes(tmp_path / "data", 24)
