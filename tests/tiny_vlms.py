"""Folders of tiny vision-language models: real transformers classes, seeded random weights, a tokenizer made here.

Every folder loads with `AutoProcessor` and `AutoModelForImageTextToText`, without a network.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

HIDDEN = 16
PATCH = 4
SIDE = 16
"""Pixels of the square that fixed-size towers see: 4 by 4 patches."""

PAD, BOS, EOS = "<pad>", "<bos>", "<end>"
VOCABULARY = 360
SENTENCES = [
    f"user\nassistant\n What is in the image? The picture shows {n} {color} {shape}s left of a {color} {shape}."
    for color in ("red", "green", "blue")
    for shape in ("circle", "square", "triangle")
    for n in range(4)
]

DECODER: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 512,
}
TOWER: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": PATCH,
}
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}


class Parts(NamedTuple):
    """What is saved as a folder."""

    model: Any
    processor: Any


def build(family: str, folder: Path, seed: int = 0) -> Path:
    """Write one of `FAMILIES`.

    Args:
        family: Its name.
        folder: Where to.
        seed: Decides the weights; the global random state is left alone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, processor = FAMILIES[family]()
        _livelier(model)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return Path(folder)


def llava() -> Parts:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaProcessor

    tokenizer = fast_tokenizer(("<image>",), {"image_token": "<image>"}, adds_bos=True)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**TOWER),
        text_config=LlamaConfig(**DECODER, **_ids(tokenizer)),
        image_token_index=tokenizer.image_token_id,
        image_seq_length=16,
    )
    processor = LlavaProcessor(
        image_processor=_clip_images(),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat_template("<image>\n", "{role_upper}:", " ", lead=" "),
    )
    return _parts(config, processor)


def qwen2_vl() -> Parts:
    from transformers import Qwen2VLConfig, Qwen2VLProcessor

    vision = {"depth": 2, "embed_dim": HIDDEN, "hidden_size": HIDDEN, "num_heads": 2, "patch_size": PATCH}
    return _qwen(Qwen2VLConfig, Qwen2VLProcessor, vision, DECODER | {"rope_parameters": MROPE})


def qwen2_5_vl() -> Parts:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLProcessor

    vision = _qwen_tower() | {"window_size": 4 * PATCH, "fullatt_block_indexes": [1]}
    return _qwen(Qwen2_5_VLConfig, Qwen2_5_VLProcessor, vision, DECODER | {"rope_parameters": MROPE})


def qwen3_vl() -> Parts:
    from transformers import Qwen3VLConfig, Qwen3VLProcessor

    vision = _qwen_tower() | {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
    return _qwen(Qwen3VLConfig, Qwen3VLProcessor, vision, DECODER | {"head_dim": 8, "rope_parameters": MROPE})


def qwen3_5() -> Parts:
    """Its first layer is recurrent."""
    from transformers import Qwen3_5Config, Qwen3VLProcessor

    vision = _qwen_tower() | {"num_position_embeddings": 16}
    text = DECODER | {
        "head_dim": 16,
        "layer_types": ["linear_attention", "full_attention"],
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "rope_parameters": MROPE | {"partial_rotary_factor": 0.5},
    }
    return _qwen(Qwen3_5Config, Qwen3VLProcessor, vision, text)


def idefics3() -> Parts:
    from transformers import Idefics3Config, Idefics3ImageProcessor, Idefics3Processor

    tokenizer = fast_tokenizer(_idefics_tokens(), {}, adds_bos=True)
    images = Idefics3ImageProcessor(size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE})
    template = chat_template("<image>", "{role_title}:", "", bos=True, lead=" ")
    processor = Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=template)
    return _parts(_idefics_config(Idefics3Config, processor), processor)


def smolvlm() -> Parts:
    from transformers import SmolVLMConfig, SmolVLMImageProcessor, SmolVLMProcessor, SmolVLMVideoProcessor

    named = {"image_token": "<image>", "fake_image_token": "<fake_token_around_image>", "video_token": "<video>"}
    tokenizer = fast_tokenizer((*_idefics_tokens(), "<video>"), named)
    images = SmolVLMImageProcessor(size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE})
    template = chat_template("<image>", "{role_title}:", "\n", bos=True, lead=" ")
    processor = SmolVLMProcessor(images, tokenizer, SmolVLMVideoProcessor(), image_seq_len=4, chat_template=template)
    return _parts(_idefics_config(SmolVLMConfig, processor), processor)


def gemma3() -> Parts:
    """Its first layer has a sliding window shorter than any prompt."""
    from transformers import Gemma3Config, Gemma3ImageProcessor, Gemma3Processor, Gemma3TextConfig, SiglipVisionConfig

    named = {"image_token": "<soft>", "boi_token": "<boi>", "eoi_token": "<eoi>"}
    tokenizer = fast_tokenizer(tuple(named.values()), named, adds_bos=True)
    text = Gemma3TextConfig(
        **DECODER,
        **_ids(tokenizer),
        head_dim=8,
        query_pre_attn_scalar=8,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention"],
    )
    config = Gemma3Config(
        text_config=text,
        vision_config=SiglipVisionConfig(**TOWER, vision_use_head=False),
        mm_tokens_per_image=4,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        image_token_index=tokenizer.image_token_id,
    )
    processor = Gemma3Processor(
        image_processor=Gemma3ImageProcessor(size=_square()),
        tokenizer=tokenizer,
        image_seq_length=4,
        chat_template=chat_template("<boi>", "<start>{role}\n", "\n", bos=True),
    )
    return _parts(config, processor)


def paligemma() -> Parts:
    """Its processor puts BOS after the images and a line break after the text."""
    from transformers import GemmaConfig, PaliGemmaConfig, PaliGemmaProcessor, SiglipImageProcessor, SiglipVisionConfig

    tokenizer = fast_tokenizer(("<image>",), {"image_token": "<image>"})
    images = SiglipImageProcessor(size=_square())
    images.image_seq_length = 16
    processor = PaliGemmaProcessor(images, tokenizer, chat_template=chat_template("<image>", "", ""))
    config = PaliGemmaConfig(
        text_config=GemmaConfig(**DECODER, **_ids(tokenizer), head_dim=8),
        vision_config=SiglipVisionConfig(**TOWER, vision_use_head=False, projection_dim=HIDDEN),
        image_token_index=tokenizer.image_token_id,
        projection_dim=HIDDEN,
        hidden_size=HIDDEN,
    )
    return _parts(config, processor)


def internvl() -> Parts:
    from transformers import (
        GotOcr2ImageProcessor,
        InternVLConfig,
        InternVLProcessor,
        InternVLVideoProcessor,
        InternVLVisionConfig,
        Qwen2Config,
    )

    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = fast_tokenizer(tuple(named.values()), named)
    tower = TOWER | {"image_size": [SIDE, SIDE], "patch_size": [PATCH, PATCH]}
    config = InternVLConfig(
        vision_config=InternVLVisionConfig(**tower),
        text_config=Qwen2Config(**DECODER, **_ids(tokenizer)),
        image_token_id=tokenizer.context_image_token_id,
        image_seq_length=4,
    )
    processor = InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(size=_square(), crop_to_patches=True, min_patches=1, max_patches=2),
        tokenizer=tokenizer,
        video_processor=InternVLVideoProcessor(size=_square()),
        image_seq_length=4,
        chat_template=chat_template("<IMG_CONTEXT>\n", "<start>{role}\n", "\n"),
    )
    return _parts(config, processor)


def mllama() -> Parts:
    """Its image token has an embedding and no logit: it is the token behind the vocabulary."""
    from transformers import MllamaConfig, MllamaImageProcessor, MllamaProcessor
    from transformers.models.mllama.configuration_mllama import MllamaTextConfig, MllamaVisionConfig

    tokenizer = fast_tokenizer(("<|python_tag|>", "<|image|>"), {"image_token": "<|image|>"}, adds_bos=True)
    vision = MllamaVisionConfig(
        hidden_size=HIDDEN,
        intermediate_size=24,
        num_hidden_layers=2,
        num_global_layers=1,
        attention_heads=2,
        vision_output_dim=2 * HIDDEN,
        intermediate_layers_indices=[0],
        image_size=SIDE,
        patch_size=PATCH,
        max_num_tiles=2,
        supported_aspect_ratios=[[1, 1], [1, 2], [2, 1]],
    )
    sizes = _ids(tokenizer) | {"vocab_size": tokenizer.image_token_id}
    text = MllamaTextConfig(**DECODER | {"num_hidden_layers": 3}, **sizes, cross_attention_layers=[1])
    processor = MllamaProcessor(
        MllamaImageProcessor(size=_square(), max_image_tiles=2),
        tokenizer,
        chat_template=chat_template("<|image|>", "<start>{role}\n\n", "", bos=True),
    )
    config = MllamaConfig(vision_config=vision, text_config=text, image_token_index=tokenizer.image_token_id)
    return _parts(config, processor)


def llava_next() -> Parts:
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaNextConfig,
        LlavaNextImageProcessor,
        LlavaNextProcessor,
    )

    tokenizer = fast_tokenizer(("<image>",), {"image_token": "<image>"}, adds_bos=True)
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**TOWER),
        text_config=LlamaConfig(**DECODER, **_ids(tokenizer)),
        image_token_index=tokenizer.image_token_id,
        image_grid_pinpoints=_pinpoints(),
        image_seq_length=16,
    )
    images = LlavaNextImageProcessor(
        size={"shortest_edge": SIDE}, crop_size=_square(), image_grid_pinpoints=_pinpoints()
    )
    processor = LlavaNextProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat_template("<image>\n", "[{role}]", " ", lead=" "),
    )
    return _parts(config, processor)


def llava_onevision() -> Parts:
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionImageProcessor,
        LlavaOnevisionProcessor,
        LlavaOnevisionVideoProcessor,
        Qwen2Config,
        SiglipVisionConfig,
    )

    named = {"image_token": "<image>", "video_token": "<video>"}
    tokenizer = fast_tokenizer(tuple(named.values()), named)
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(**TOWER, vision_use_head=False),
        text_config=Qwen2Config(**DECODER, **_ids(tokenizer)),
        image_token_index=tokenizer.image_token_id,
        video_token_index=tokenizer.video_token_id,
        image_grid_pinpoints=_pinpoints(),
    )
    processor = LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessor(size=_square(), image_grid_pinpoints=_pinpoints()),
        tokenizer=tokenizer,
        video_processor=LlavaOnevisionVideoProcessor(size=_square()),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=chat_template("<image>\n", "<start>{role}\n", "\n"),
    )
    return _parts(config, processor)


FAMILIES: dict[str, Callable[[], Parts]] = {
    "llava": llava,
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "qwen3_5": qwen3_5,
    "idefics3": idefics3,
    "smolvlm": smolvlm,
    "gemma3": gemma3,
    "paligemma": paligemma,
    "internvl": internvl,
    "mllama": mllama,
    "llava_next": llava_next,
    "llava_onevision": llava_onevision,
}


def chat_template(image: str, turn_start: str, after_turn: str, bos: bool = False, lead: str = "") -> str:
    """A template whose messages hold text or typed parts; the assistant's turn ends with EOS and `after_turn`.

    Args:
        image: What stands for an image.
        turn_start: What opens a turn; `{role}`, `{role_title}` and `{role_upper}` become the role.
        after_turn: What follows the end of a turn.
        bos: Whether it begins with BOS.
        lead: What stands before a turn's content; a turn that is to be generated begins with it.
    """
    roles = {"{role}": "role", "{role_title}": "role | title", "{role_upper}": "role | upper"}
    start = turn_start
    for name, value in roles.items():
        start = start.replace(name, "{{ " + value + " }}")
    opening = start.replace("role", "'assistant'")
    parts = (
        "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
        "{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}" + image + "{% else %}{{ part['text'] }}{% endif %}"
        "{% endfor %}{% endif %}"
    )
    end = ("{{ '" + EOS + "' }}" if turn_start else "{% if role == 'assistant' %}" + EOS + "{% endif %}") + after_turn
    turn = "{% set role = message['role'] %}" + start + lead + parts + end
    turns = "{% for message in messages %}" + turn + "{% endfor %}"
    return ("{{ bos_token }}" if bos else "") + turns + "{% if add_generation_prompt %}" + opening + "{% endif %}"


def fast_tokenizer(special: tuple[str, ...], named: dict[str, str], adds_bos: bool = False) -> Any:
    """A byte-level BPE tokenizer.

    Args:
        special: Special tokens behind the vocabulary, in this order.
        named: Attributes of the tokenizer that name some of them.
        adds_bos: Whether it begins with BOS whatever it is not told to leave plain.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary, merges = _byte_pairs()
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([PAD, BOS, EOS, *special])
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1", special_tokens=[(BOS, vocabulary[BOS])]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        extra_special_tokens=named,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


@cache
def _byte_pairs() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary and its merges."""
    import json

    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [(left, right) for left, right in model["merges"]]


def _qwen(config_class: Any, processor_class: Any, vision: dict[str, Any], text: dict[str, Any]) -> Parts:
    from transformers import Qwen2Tokenizer, Qwen2VLImageProcessor, Qwen2VLVideoProcessor, Qwen3VLVideoProcessor

    vocabulary, merges = _byte_pairs()
    names = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    tokenizer = Qwen2Tokenizer(vocabulary, merges, unk_token=None, eos_token=EOS, pad_token=PAD)
    tokenizer.add_special_tokens({"additional_special_tokens": list(names)})
    start, end, image, video = tokenizer.convert_tokens_to_ids(list(names))
    config = config_class(
        vision_config=vision,
        text_config=text | _ids(tokenizer),
        vision_start_token_id=start,
        vision_end_token_id=end,
        image_token_id=image,
        video_token_id=video,
    )
    videos = Qwen3VLVideoProcessor if processor_class.__name__.startswith("Qwen3") else Qwen2VLVideoProcessor
    sides = {"patch_size": PATCH, "size": {"shortest_edge": SIDE**2, "longest_edge": 4 * SIDE**2}}
    template = chat_template("<|vision_start|><|image_pad|><|vision_end|>", "<|start|>{role}\n", "\n")
    processor = processor_class(
        image_processor=Qwen2VLImageProcessor(**sides),
        tokenizer=tokenizer,
        video_processor=videos(**sides),
        chat_template=template,
    )
    return _parts(config, processor)


def _qwen_tower() -> dict[str, Any]:
    return {
        "depth": 2,
        "hidden_size": HIDDEN,
        "intermediate_size": 24,
        "num_heads": 2,
        "patch_size": PATCH,
        "out_hidden_size": HIDDEN,
    }


def _idefics_tokens() -> tuple[str, ...]:
    places = tuple(f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2))
    return ("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *places)


def _idefics_config(config_class: Any, processor: Any) -> Any:
    from transformers import LlamaConfig

    tokenizer = processor.tokenizer
    return config_class(
        vision_config=TOWER,
        text_config=LlamaConfig(**DECODER, **_ids(tokenizer)),
        image_token_id=processor.image_token_id,
        scale_factor=2,
    )


def _clip_images() -> Any:
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=_square())


def _square() -> dict[str, int]:
    return {"height": SIDE, "width": SIDE}


def _pinpoints() -> list[list[int]]:
    return [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]


def _ids(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _parts(config: Any, processor: Any) -> Parts:
    from transformers import AutoModelForImageTextToText

    return Parts(AutoModelForImageTextToText.from_config(config), processor)


def _livelier(model: Any) -> None:
    """Draw every weight matrix and every gate that starts at zero, so that images and places matter."""
    for parameter in model.parameters():
        if parameter.dim() >= 2 or not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
