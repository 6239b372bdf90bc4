"""Tiny language models of codec tokens, and sounds as cells of their batches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from modalign.core.batch import CHOSEN, REJECTED, Candidate, Comparison, PreferenceBatch
from modalign.modalities.audio.tokens.family import padded
from modalign.modalities.audio.tokens.modality import AudioTokens
from tests.tiny_audio.tokens import CODES, MODELS, build

PROMPTS = ("a dog", "rain and wind, then a bell", "beeps")


@pytest.fixture(scope="session")
def token_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """From a name in `tests.tiny_audio.tokens.MODELS` to its folder, written once a session; only to be read."""
    root = tmp_path_factory.mktemp("token-models")

    def folder(name: str) -> Path:
        return root / name if (root / name).exists() else build(name, root / name)

    return folder


@pytest.fixture(scope="session")
def tokens(token_folder: Callable[[str], Path]) -> Callable[..., AudioTokens]:
    """Makes the modality of a tiny model, in float64 and without a cache unless options say otherwise."""

    def make(name: str = "musicgen", **options: Any) -> AudioTokens:
        return AudioTokens(str(token_folder(name)), **{"dtype": "float64", "cache": "off", **options})

    return make


@pytest.fixture(scope="session")
def policies(tokens: Callable[..., AudioTokens]) -> dict[str, tuple[AudioTokens, Any]]:
    """Of each tiny model its modality and a policy; only to be read."""
    return {name: (modality := tokens(name), modality.load()) for name in MODELS}


def cells(modality: AudioTokens, lengths: list[int], whole: list[bool] | None = None, seed: int = 0) -> dict[str, Any]:
    """Inputs of a likelihood: random codes of these lengths, each under a prompt of `PROMPTS`."""
    source = torch.Generator().manual_seed(seed)
    codebooks = modality.family.pattern.codebooks
    codes = torch.randint(CODES, (len(lengths), max(lengths), codebooks), generator=source)
    ids, mask = padded([modality.family.prompt_ids(modality.tokenizer, prompt) for prompt in PROMPTS])
    return {
        "codes": codes,
        "frames": torch.tensor(lengths),
        "whole": torch.tensor(whole or [True] * len(lengths)),
        "prompt_ids": ids,
        "prompt_mask": mask,
        "prompt_index": torch.arange(len(lengths)) % len(PROMPTS),
    }


def pair(prompt: str, chosen: Any, rejected: Any) -> Comparison:
    return Comparison(prompt, (Candidate(chosen, CHOSEN), Candidate(rejected, REJECTED)))


def batch_of(modality: AudioTokens, comparisons: list[Comparison]) -> PreferenceBatch:
    return modality.collate([modality.encode(each) for each in comparisons], range(len(comparisons)))


def sequences(modality: AudioTokens, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    return modality.family.pattern.delayed(inputs["codes"], inputs["frames"], inputs["whole"])


def dia_start(modality: AudioTokens, rows: int = 1) -> dict[str, Tensor]:
    """What Dia's `generate` starts from where there is no sound yet, as its processor makes it."""
    pattern = modality.family.pattern
    steps = torch.arange(1 + max(pattern.delays))
    begun = steps[:, None] > torch.tensor(pattern.delays)
    ids = torch.where(begun, pattern.after, pattern.before)
    return {
        "decoder_input_ids": ids.expand(rows, -1, -1),
        "decoder_attention_mask": torch.ones(rows, len(steps), dtype=torch.long),
    }
