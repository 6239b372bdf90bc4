"""Folders of tiny language models of codec tokens: real transformers classes, seeded random weights, tokenizers made
here.

Every folder loads with `AutoProcessor` and its model's class, without a network. Sounds have 50 frames a second.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

RATE = 1600
HOP = 32
CODES = 16
"""Entries of each codebook."""

TEXT = "abcdefghijklmnopqrstuvwxyz0123456789.,'"


def build(name: str, folder: Path, seed: int = 0) -> Path:
    """Write one of `MODELS`.

    Args:
        name: Of the model.
        folder: Where to.
        seed: Decides the weights; the global random state is left alone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        MODELS[name](Path(folder))
    return Path(folder)


def musicgen(folder: Path) -> None:
    """Three codebooks of a mono codec."""
    _musicgen(folder, codebooks=3, channels=1)


def musicgen_stereo(folder: Path) -> None:
    """Two codebooks a channel."""
    _musicgen(folder, codebooks=4, channels=2)


def dia(folder: Path) -> None:
    """Three codebooks; the codec lies in a folder of its own inside, as the processor names it."""
    from transformers import (
        DacConfig,
        DacModel,
        DiaConfig,
        DiaFeatureExtractor,
        DiaForConditionalGeneration,
        DiaProcessor,
        DiaTokenizer,
        GenerationConfig,
    )

    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8}
    config = DiaConfig(
        encoder_config={
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "vocab_size": 256,
            "max_position_embeddings": 128,
            **heads,
        },
        decoder_config={
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "vocab_size": CODES + 4,
            "num_channels": 3,
            "cross_num_attention_heads": 2,
            "cross_num_key_value_heads": 2,
            "cross_head_dim": 8,
            "cross_hidden_size": 16,
            "max_position_embeddings": 128,
            "eos_token_id": CODES,
            "pad_token_id": CODES + 1,
            "bos_token_id": CODES + 2,
            **heads,
        },
        delay_pattern=[0, 2, 3],
    )
    codec = DacModel(
        DacConfig(
            encoder_hidden_size=4,
            decoder_hidden_size=16,
            downsampling_ratios=[4, 8],
            n_codebooks=3,
            codebook_size=CODES,
            codebook_dim=4,
            sampling_rate=RATE,
        )
    )
    codec.save_pretrained(folder / "codec")
    model = _livelier(DiaForConditionalGeneration(config))
    decoder = config.decoder_config
    special = {
        "eos_token_id": decoder.eos_token_id,
        "pad_token_id": decoder.pad_token_id,
        "bos_token_id": decoder.bos_token_id,
    }
    model.generation_config = GenerationConfig(
        **special, decoder_start_token_id=decoder.bos_token_id, max_length=100, guidance_scale=3.0, do_sample=True
    )
    model.save_pretrained(folder)
    DiaProcessor(
        feature_extractor=DiaFeatureExtractor(sampling_rate=RATE, hop_length=HOP),
        tokenizer=DiaTokenizer(),
        audio_tokenizer=DacModel.from_pretrained(folder / "codec"),
    ).save_pretrained(folder)


MODELS: dict[str, Callable[[Path], None]] = {
    "musicgen": musicgen,
    "musicgen_stereo": musicgen_stereo,
    "dia": dia,
}


def _musicgen(folder: Path, codebooks: int, channels: int) -> None:
    from transformers import (
        EncodecConfig,
        EncodecFeatureExtractor,
        GenerationConfig,
        MusicgenConfig,
        MusicgenForConditionalGeneration,
        MusicgenProcessor,
    )

    tokenizer = _t5_tokenizer()
    text = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "vocab_size": len(tokenizer)}
    codec = EncodecConfig(
        sampling_rate=RATE,
        upsampling_ratios=[8, 4],
        target_bandwidths=[0.2 * codebooks / channels],  # 50 frames of 4 bits a second and codebook
        codebook_size=CODES,
        hidden_size=8,
        num_filters=4,
        num_lstm_layers=1,
    )
    decoder = {
        "vocab_size": CODES,
        "pad_token_id": CODES,
        "bos_token_id": CODES,
        "decoder_start_token_id": CODES,
        "hidden_size": 24,
        "ffn_dim": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_codebooks": codebooks,
        "audio_channels": channels,
        "max_position_embeddings": 128,
    }
    config = MusicgenConfig(
        text_encoder={"model_type": "t5", **text},
        audio_encoder={**codec.to_dict(), "model_type": "encodec"},
        decoder=decoder,
    )
    model = _livelier(MusicgenForConditionalGeneration(config), keep=("audio_encoder",))
    _spread_codebooks(model.audio_encoder)
    special = {"pad_token_id": CODES, "bos_token_id": CODES, "decoder_start_token_id": CODES}
    model.generation_config = GenerationConfig(**special, max_length=100, guidance_scale=3.0, do_sample=True)
    model.save_pretrained(folder)
    extractor = EncodecFeatureExtractor(feature_size=channels, sampling_rate=RATE)
    MusicgenProcessor(feature_extractor=extractor, tokenizer=tokenizer).save_pretrained(folder)


def _t5_tokenizer() -> Any:
    from transformers import T5Tokenizer

    pieces = ["<pad>", "</s>", "<unk>", "\u2581", *TEXT]
    return T5Tokenizer(vocab=[(piece, -float(place)) for place, piece in enumerate(pieces)], extra_ids=0)


def _livelier(model: Any, keep: tuple[str, ...] = ()) -> Any:
    """Larger weights, since with those a model is born with, all tokens are nearly equally likely."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and not name.startswith(keep):
                weight.normal_(0, 0.3)
    return model


def _spread_codebooks(codec: Any) -> None:
    """A codec is born with codebooks of zeros, by which all sounds are the same."""
    with torch.no_grad():
        heard = codec.encoder(torch.randn(1, 1, 100 * HOP) * torch.linspace(0.05, 1, 100 * HOP))
        for layer in codec.quantizer.layers:
            drawn = torch.randn_like(layer.codebook.embed)
            layer.codebook.embed.copy_(heard.mean((0, 2)) + drawn * heard.std((0, 2)))
            heard = heard - layer.decode(layer.encode(heard))
