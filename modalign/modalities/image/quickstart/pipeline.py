"""A small diffusers pipeline with random weights: nothing is downloaded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modalign.core.keys import seed_global
from modalign.modalities.image.quickstart.digits import CAPTIONS, SIZE

TEXT_WIDTH = 32


def write_pipeline(folder: Path, channels: Sequence[int], seed: int) -> None:
    """Write a `StableDiffusionPipeline` that has no VAE: its UNet denoises RGB pixels.

    Args:
        folder: Must not exist.
        channels: Of the UNet's two levels.
        seed: Of the weights.
    """
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    seed_global(seed, "random weights")
    tokenizer = _tokenizer(CAPTIONS)
    pipeline = StableDiffusionPipeline(
        vae=None,
        text_encoder=_text_encoder(tokenizer),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(
            sample_size=SIZE,
            in_channels=3,
            out_channels=3,
            block_out_channels=tuple(channels),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=TEXT_WIDTH,
            mid_block_type="UNetMidBlock2D",
            attention_head_dim=4,
            norm_num_groups=8,
        ),
        # Of pictures as small as these, the clean picture is learned in half the steps that its noise takes.
        scheduler=DDIMScheduler(
            beta_schedule="squaredcos_cap_v2", prediction_type="sample", clip_sample=False, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)


def _tokenizer(texts: Sequence[str]) -> Any:
    """CLIP's tokenizer with a token for every word of some texts; other words fall into letters."""
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    words = dict.fromkeys(word for text in texts for word in text.split())
    merges = list(dict.fromkeys(merge for word in words for merge in _merges(word)))
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    tokens += [first + second for first, second in merges]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    longest = max(len(text.split()) for text in texts) + 2
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=longest)


def _merges(word: str) -> list[tuple[str, str]]:
    """What joins a word's letters from left to right."""
    parts = [*word[:-1], f"{word[-1]}</w>"]
    return [("".join(parts[:end]), parts[end]) for end in range(1, len(parts))]


def _text_encoder(tokenizer: Any) -> Any:
    """CLIP's text model; it stays as random as it is."""
    from torch.nn.init import normal_
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    encoder = CLIPTextModel(config).eval()
    # Against CLIP's small embeddings, the random layers would blur captions that differ in one word.
    normal_(encoder.get_input_embeddings().weight)
    return encoder
