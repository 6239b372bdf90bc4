"""A small language model from nothing: a byte-level BPE tokenizer of its own and a decoder with random weights."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from modalign.core.errors import UserError
from modalign.core.keys import seed_global
from modalign.modalities.folders import new_folder

END = "<|im_end|>"
START = "<|im_start|>"
PAD = "<|pad|>"
SPECIAL_TOKENS = (PAD, START, END)
BYTES = 256

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant', 'tool'] %}"
    "{{ raise_exception('unknown role ' + message['role']) }}"
    "{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Any:
    """A byte-level BPE tokenizer (any text can be written with it) with a template in the manner of ChatML.

    Args:
        texts: What its merges are learned from.
        vocab_size: All tokens: 3 special ones, 256 bytes, and merges; fewer if the texts are too short for so many.

    Returns:
        A `PreTrainedTokenizerFast` whose end-of-sequence token ends a chat's turn.

    Raises:
        UserError: `vocab_size` does not hold the bytes and special tokens.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    smallest = BYTES + len(SPECIAL_TOKENS)
    if vocab_size < smallest:
        raise UserError(
            f"A vocabulary of {vocab_size} tokens does not hold {BYTES} bytes and {len(SPECIAL_TOKENS)} special ones.",
            f"Use {smallest} or more.",
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=[START],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def new_model(
    tokenizer: Any,
    hidden_size: int = 256,
    layers: int = 4,
    heads: int = 4,
    max_positions: int = 512,
    seed: int = 0,
    initializer_range: float = 0.02,
) -> Any:
    """A `LlamaForCausalLM` with random weights and tied embeddings, on the CPU in float32.

    Args:
        tokenizer: Whose tokens it embeds.
        hidden_size: Width; the gated feed-forward layers are 8/3 times as wide.
        layers: Decoder layers.
        heads: Attention heads.
        max_positions: The longest sequence.
        seed: Decides the weights; the global random state is left alone.
        initializer_range: Standard deviation of the weights. The usual 0.02 suits widths of a thousand and more; narrow
            models learn faster from more.

    Raises:
        UserError: The heads do not divide the width into even parts.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    if hidden_size % (2 * heads):
        raise UserError(
            f"{heads} heads do not divide a hidden size of {hidden_size} into even parts.",
            f"Use a multiple of {2 * heads} as hidden size.",
        )
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=8 * hidden_size // 3,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=max_positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=initializer_range,
    )
    with torch.random.fork_rng(devices=[]):
        seed_global(seed, "scratch")
        return LlamaForCausalLM(config)


def write_scratch_model(
    texts: Iterable[str],
    folder: Path,
    vocab_size: int = 4096,
    hidden_size: int = 256,
    layers: int = 4,
    heads: int = 4,
    max_positions: int = 512,
    seed: int = 0,
    overwrite: bool = False,
    initializer_range: float = 0.02,
) -> Path:
    """Train a tokenizer, draw a model, and write both as a transformers folder.

    Args:
        texts: What the tokenizer is trained on.
        folder: Must not exist, unless `overwrite`.
        vocab_size: See `train_tokenizer`.
        hidden_size: See `new_model`.
        layers: See `new_model`.
        heads: See `new_model`.
        max_positions: See `new_model`.
        seed: See `new_model`.
        overwrite: Whether an existing folder is replaced.
        initializer_range: See `new_model`.

    Returns:
        The folder.

    Raises:
        UserError: The folder exists, or the sizes do not fit each other.
    """
    with new_folder(Path(folder), overwrite) as target:
        tokenizer = train_tokenizer(texts, vocab_size)
        model = new_model(tokenizer, hidden_size, layers, heads, max_positions, seed, initializer_range)
        tokenizer.save_pretrained(target)
        model.save_pretrained(target)
    return Path(folder)
