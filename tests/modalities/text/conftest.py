"""Tiny models of real transformers classes with random weights, and a tokenizer trained on a few sentences."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modalign.core.batch import CHOSEN, REJECTED, Candidate, Comparison
from modalign.modalities.text.modality import Text
from modalign.modalities.text.scratch import train_tokenizer

VOCABULARY = 300
SENTENCES = [
    f"The {animal} number {n} sat on the mat and said: go {n}!" for animal in ("cat", "dog") for n in range(40)
]
FAMILIES = ("llama", "gpt2", "gemma2", "qwen3", "cohere", "granite")


def tiny_config(family: str) -> Any:
    import transformers

    small = {"vocab_size": VOCABULARY, "bos_token_id": None, "eos_token_id": 2, "pad_token_id": 0}
    decoder = small | {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 128,
    }
    match family:
        case "llama":
            return transformers.LlamaConfig(**decoder, attention_dropout=0.1)
        case "gpt2":
            return transformers.GPT2Config(**small, n_embd=16, n_layer=2, n_head=2, n_positions=128)
        case "gemma2":
            # A cap so low that it bends even the small logits of random weights.
            return transformers.Gemma2Config(**decoder, head_dim=8, sliding_window=8, final_logit_softcapping=0.05)
        case "qwen3":
            return transformers.Qwen3Config(**decoder, head_dim=8, tie_word_embeddings=True)
        case "cohere":
            return transformers.CohereConfig(**decoder, logit_scale=0.25)
        case "granite":
            return transformers.GraniteConfig(**decoder, logits_scaling=4.0)
    raise ValueError(family)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return train_tokenizer(SENTENCES, VOCABULARY)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Callable[[str], str]:
    """From a family's name to the folder of a tiny model of it with the tokenizer."""
    from transformers import AutoModelForCausalLM

    root, made = tmp_path_factory.mktemp("models"), dict[str, str]()

    def folder(family: str) -> str:
        if family not in made:
            torch.manual_seed(0)
            path: Path = root / family
            AutoModelForCausalLM.from_config(tiny_config(family)).save_pretrained(path)
            tokenizer.save_pretrained(path)
            made[family] = str(path)
        return made[family]

    return folder


@pytest.fixture
def text(model_folder: Callable[[str], str]) -> Callable[..., Text]:
    """Makes a text modality over a tiny model; 128 tokens at most."""

    def make(family: str = "llama", **options: Any) -> Text:
        return Text(model_folder(family), **{"max_length": 128, **options})

    return make


def pair(prompt: Any, chosen: Any, rejected: Any, **more: Any) -> Comparison:
    return Comparison(prompt, (Candidate(chosen, CHOSEN), Candidate(rejected, REJECTED)), **more)


def chat(*turns: str) -> list[dict[str, str]]:
    """Messages of the user and the assistant in turn."""
    return [{"role": ("user", "assistant")[n % 2], "content": turn} for n, turn in enumerate(turns)]


def reply(content: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": content}]


PAIRS = [
    pair("The cat", " sat on the mat", " said: go 3!"),
    pair("The dog number 7 sat on the mat and", " said", " sat on the mat and said: go 12!"),
    pair(chat("go 4!"), reply("The cat said"), reply("no")),
]
