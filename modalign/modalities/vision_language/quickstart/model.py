"""A small LLaVA from nothing: a CLIP tower and a Llama with random weights, and a tokenizer made on the spot."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from modalign.core.keys import seed_global
from modalign.modalities.text.scratch import START, train_tokenizer
from modalign.modalities.vision_language.prompts import IMAGE_TAG
from modalign.modalities.vision_language.quickstart.scenes import SIDE

PATCH = 8
HEADS = 4
LAYERS = 2
VOCABULARY = 512
MAX_LENGTH = 96
SHADE_MEAN, SHADE_SPREAD = 0.93, 0.25
"""Shades are shifted so that the bright background is near 0, and the objects stand out."""

TEMPLATE = (
    "{% for message in messages %}"
    f"{{{{ '{START}' }}}}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}" + IMAGE_TAG + "{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{{ '<|im_end|>' }}"
    "{% endfor %}"
    f"{{% if add_generation_prompt %}}{{{{ '{START}' }}}}{{% endif %}}"
)


def write_model(texts: Iterable[str], folder: Path, hidden_size: int, seed: int) -> Path:
    """Write a `LlavaForConditionalGeneration` with its processor as a transformers folder.

    Args:
        texts: What the tokenizer's merges are learned from.
        folder: Where to.
        hidden_size: Width of the tower and of the decoder, a multiple of `2 * HEADS`.
        seed: Decides the weights; the global random state is left alone.
    """
    from transformers import LlavaForConditionalGeneration

    processor = new_processor(texts)
    with torch.random.fork_rng(devices=[]):
        seed_global(seed, "scratch")
        model = LlavaForConditionalGeneration(_config(processor.tokenizer, hidden_size))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def new_processor(texts: Iterable[str]) -> Any:
    """A `LlavaProcessor` with a tokenizer of its own; pictures are `SIDE` pixels wide and stay so."""
    from transformers import CLIPImageProcessor, LlavaProcessor

    tokenizer = train_tokenizer(texts, VOCABULARY)
    tokenizer.add_tokens([IMAGE_TAG], special_tokens=True)
    square = {"height": SIDE, "width": SIDE}
    images = CLIPImageProcessor(
        size=square, crop_size=square, image_mean=[SHADE_MEAN] * 3, image_std=[SHADE_SPREAD] * 3
    )
    return LlavaProcessor(
        images,
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )


def _config(tokenizer: Any, hidden_size: int) -> Any:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig

    sizes = {
        "hidden_size": hidden_size,
        "intermediate_size": 2 * hidden_size,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
    }
    # Narrow models learn faster from larger weights than the usual 0.02.
    vision = CLIPVisionConfig(**sizes, image_size=SIDE, patch_size=PATCH, initializer_range=0.1)
    text = LlamaConfig(
        **sizes,
        vocab_size=len(tokenizer),
        max_position_embeddings=MAX_LENGTH,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.06,
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TAG),
        image_seq_length=(SIDE // PATCH) ** 2,
        vision_feature_layer=-1,
    )
