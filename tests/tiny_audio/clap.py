"""Folders of tiny CLAP models: real classes, seeded random weights, no network."""

from pathlib import Path

import torch

LONGEST = 12


def clap(folder: Path, truncation: str = "rand_trunc", seconds: int = 1, **extractor: object) -> Path:
    """A `ClapModel` with its feature extractor and a tokenizer of single letters.

    Args:
        folder: Where to.
        truncation: `rand_trunc`, or `fusion` for a model with fusion.
        seconds: Of a window.
        extractor: Of the feature extractor, such as `sampling_rate`.
    """
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor, RobertaTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    torch.manual_seed(0)
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *bytes_to_unicode().values()]
    tokenizer = RobertaTokenizer(vocab={piece: number for number, piece in enumerate(pieces)}, merges=[])
    tokenizer.model_max_length = 64
    text = {
        "vocab_size": len(pieces),
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": LONGEST + 2,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
    }
    audio = {
        "hidden_size": 16,
        "patch_embeds_hidden_size": 8,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "num_hidden_layers": 2,
        "spec_size": 64,
        "num_mel_bins": 16,
        "window_size": 4,
        "enable_fusion": truncation == "fusion",
        "fusion_type": "aff_2d" if truncation == "fusion" else None,
    }
    config = ClapConfig(text_config=text, audio_config=audio, projection_dim=8)
    model = ClapModel(config).eval()
    for parameter in model.parameters():
        parameter.data.mul_(4).add_(0.01)  # random vectors of the usual scale hardly differ between sounds
    model.save_pretrained(folder)
    features = ClapFeatureExtractor(feature_size=16, max_length_s=seconds, truncation=truncation, **extractor)
    ClapProcessor(features, tokenizer).save_pretrained(folder)
    return folder
