"""Folders of tiny models that hear and write: real transformers classes, seeded random weights, a tokenizer made here.

Every folder loads with `AutoProcessor` and its model's class, without a network. They hear at most `LONGEST` seconds of
a sound, the last two in windows of a second.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.tiny_vlms import DECODER, HIDDEN, MROPE, PATCH, Parts, chat_template, fast_tokenizer

RATE = 8000
MELS = 8
WINDOW = 1
"""Seconds: 80 frames of spectrum."""

LONGEST = {"qwen2_audio": 1, "audioflamingo3": 2, "glmasr": 2}
TOWER: dict[str, Any] = {"num_mel_bins": MELS, "max_source_positions": 40}


def build(family: str, folder: Path, seed: int = 0) -> Path:
    """Write one of `FAMILIES`.

    Args:
        family: Its name, or that of one of `OTHERS`.
        folder: Where to.
        seed: Decides the weights; the global random state is left alone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, processor = (FAMILIES | OTHERS)[family]()
        for parameter in model.parameters():
            if parameter.dim() >= 2:  # so that sounds and places matter
                torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return Path(folder)


def qwen2_audio() -> Parts:
    from transformers import (
        Qwen2AudioConfig,
        Qwen2AudioEncoderConfig,
        Qwen2AudioForConditionalGeneration,
        Qwen2AudioProcessor,
        Qwen2Config,
    )

    tokenizer = fast_tokenizer(("<|audio_bos|>", "<|AUDIO|>", "<|audio_eos|>"), {"audio_token": "<|AUDIO|>"})
    tower = Qwen2AudioEncoderConfig(
        **TOWER, d_model=HIDDEN, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=24
    )
    config = Qwen2AudioConfig(
        audio_config=tower, text_config=Qwen2Config(**_text(tokenizer)), audio_token_index=_audio(tokenizer)
    )
    template = _template("<|audio_bos|><|AUDIO|><|audio_eos|>\n", "<start>{role}\n", "\n")
    processor = Qwen2AudioProcessor(_spectra(), tokenizer, chat_template=template)
    return Parts(Qwen2AudioForConditionalGeneration(config), processor)


def audioflamingo3() -> Parts:
    from transformers import (
        AudioFlamingo3Config,
        AudioFlamingo3EncoderConfig,
        AudioFlamingo3ForConditionalGeneration,
        AudioFlamingo3Processor,
        Qwen2Config,
    )

    tokenizer = fast_tokenizer(("<sound>",), {"audio_token": "<sound>"})
    tower = AudioFlamingo3EncoderConfig(
        **TOWER, hidden_size=HIDDEN, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
    )
    config = AudioFlamingo3Config(
        audio_config=tower, text_config=Qwen2Config(**_text(tokenizer)), audio_token_id=_audio(tokenizer)
    )
    template = _template("<sound>", "<start>{role}\n", "\n")
    processor = AudioFlamingo3Processor(_spectra(), tokenizer, chat_template=template, max_audio_len=2)
    return Parts(AudioFlamingo3ForConditionalGeneration(config), processor)


def glmasr() -> Parts:
    """Four frames of its tower are one token; it begins with BOS."""
    from transformers import (
        GlmAsrConfig,
        GlmAsrEncoderConfig,
        GlmAsrForConditionalGeneration,
        GlmAsrProcessor,
        LlamaConfig,
    )

    tokenizer = fast_tokenizer(("<sound>",), {"audio_token": "<sound>"}, adds_bos=True)
    tower = GlmAsrEncoderConfig(
        num_mel_bins=MELS,
        max_position_embeddings=40,
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=4 * HIDDEN,
    )
    config = GlmAsrConfig(
        audio_config=tower, text_config=LlamaConfig(**_text(tokenizer)).to_dict(), audio_token_id=_audio(tokenizer)
    )
    template = _template("<sound>", "<start>{role}\n", "\n", bos=True)
    processor = GlmAsrProcessor(_spectra(), tokenizer, chat_template=template, audio_token="<sound>", max_audio_len=2)
    return Parts(GlmAsrForConditionalGeneration(config), processor)


FAMILIES: dict[str, Callable[[], Parts]] = {
    "qwen2_audio": qwen2_audio,
    "audioflamingo3": audioflamingo3,
    "glmasr": glmasr,
}


def qwen2_5_omni() -> Parts:
    """As it is published: beside its thinker there may be a part that speaks."""
    from transformers import (
        Qwen2_5OmniConfig,
        Qwen2_5OmniForConditionalGeneration,
        Qwen2_5OmniProcessor,
        Qwen2_5OmniThinkerConfig,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    kinds = {kind: f"<|{kind.upper()}|>" for kind in ("image", "audio", "video")}
    ends = {f"{kind}_{end}": f"<|{kind}_{end}|>" for kind in ("vision", "audio") for end in ("bos", "eos")}
    named = {f"{name}_token": text for name, text in (kinds | ends).items()}
    tokenizer = fast_tokenizer(tuple(named.values()), named)
    ids = {name: tokenizer.convert_tokens_to_ids(text) for name, text in named.items()}
    thinker = Qwen2_5OmniThinkerConfig(
        audio_config={
            **TOWER,
            "d_model": HIDDEN,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 24,
            "output_dim": HIDDEN,
        },
        vision_config={
            "depth": 1,
            "hidden_size": HIDDEN,
            "intermediate_size": 24,
            "num_heads": 2,
            "patch_size": PATCH,
            "out_hidden_size": HIDDEN,
        },
        text_config=_text(tokenizer) | {"rope_parameters": MROPE},
        **{f"{kind}_token_index": ids[f"{kind}_token"] for kind in kinds},
        vision_start_token_id=ids["vision_bos_token"],
    )
    processor = Qwen2_5OmniProcessor(
        Qwen2VLImageProcessor(patch_size=PATCH),
        Qwen2VLVideoProcessor(patch_size=PATCH),
        _spectra(),
        tokenizer,
        chat_template=_template("<|audio_bos|><|AUDIO|><|audio_eos|>", "<start>{role}\n", "\n"),
    )
    config = Qwen2_5OmniConfig(thinker_config=thinker, enable_audio_output=False)
    return Parts(Qwen2_5OmniForConditionalGeneration(config), processor)


def musicflamingo() -> Parts:
    """Its features depend on the prompt's tokens."""
    from transformers import (
        AudioFlamingo3EncoderConfig,
        MusicFlamingoConfig,
        MusicFlamingoForConditionalGeneration,
        MusicFlamingoProcessor,
        Qwen2Config,
    )

    ends = ("<|sound_bos|>", "<|sound_eos|>")
    tokenizer = fast_tokenizer(("<sound>", *ends), {"audio_token": "<sound>"})
    first, last = tokenizer.convert_tokens_to_ids(list(ends))
    config = MusicFlamingoConfig(
        audio_config=AudioFlamingo3EncoderConfig(
            **TOWER, hidden_size=HIDDEN, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
        ),
        text_config=Qwen2Config(**_text(tokenizer)),
        audio_token_id=_audio(tokenizer),
        audio_bos_token_id=first,
        audio_eos_token_id=last,
    )
    template = _template("<sound>", "<start>{role}\n", "\n")
    processor = MusicFlamingoProcessor(_spectra(), tokenizer, chat_template=template, max_audio_len=2)
    return Parts(MusicFlamingoForConditionalGeneration(config), processor)


def granite_speech() -> Parts:
    """Features of sounds are padded; its extractor of spectra has another name, and takes sounds of any length."""
    from transformers import (
        Blip2QFormerConfig,
        GraniteConfig,
        GraniteSpeechConfig,
        GraniteSpeechFeatureExtractor,
        GraniteSpeechForConditionalGeneration,
        GraniteSpeechProcessor,
    )

    tokenizer = fast_tokenizer(("<|audio|>",), {"audio_token": "<|audio|>"})
    encoder = {"input_dim": 160, "num_layers": 1, "hidden_dim": HIDDEN, "feedforward_mult": 2, "num_heads": 2}
    projector = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    config = GraniteSpeechConfig(
        text_config=GraniteConfig(**_text(tokenizer)),
        encoder_config=encoder | {"dim_head": 8, "output_dim": 8, "context_size": 20, "max_pos_emb": 32},
        projector_config=Blip2QFormerConfig(hidden_size=HIDDEN, encoder_hidden_size=HIDDEN, **projector),
        audio_token_index=_audio(tokenizer),
        has_lora_adapter=False,
        tie_word_embeddings=False,
    )
    template = _template("<|audio|>", "<start>{role}\n", "\n")
    spectra = GraniteSpeechFeatureExtractor(sampling_rate=RATE)
    processor = GraniteSpeechProcessor(spectra, tokenizer, chat_template=template)
    return Parts(GraniteSpeechForConditionalGeneration(config), processor)


OTHERS: dict[str, Callable[[], Parts]] = {
    "qwen2_5_omni": qwen2_5_omni,
    "musicflamingo": musicflamingo,
    "granite_speech": granite_speech,
}
"""Models that need less looking at: they share what `FAMILIES` do, but for a detail each."""


def _spectra() -> Any:
    from transformers import WhisperFeatureExtractor

    return WhisperFeatureExtractor(
        feature_size=MELS, sampling_rate=RATE, hop_length=100, n_fft=200, chunk_length=WINDOW
    )


def _text(tokenizer: Any) -> dict[str, Any]:
    special = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return {**DECODER, **special, "vocab_size": len(tokenizer)}


def _audio(tokenizer: Any) -> int:
    return int(tokenizer.convert_tokens_to_ids(tokenizer.audio_token))


def _template(sound: str, turn_start: str, after_turn: str, bos: bool = False) -> str:
    return chat_template(sound, turn_start, after_turn, bos).replace("'image'", "'audio'")
