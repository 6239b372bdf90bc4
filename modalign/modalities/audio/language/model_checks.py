"""Checks that a processor and a model of sounds fit each other, and that what a sound becomes is not drawn anew."""

import inspect
from typing import Any

import torch
from torch import Tensor

from modalign.core.errors import ConfigError, RowError, UserError
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.language.sounds import Sounds, extractor_of
from modalign.modalities.modes import eval_mode
from modalign.modalities.text.verification import NOT_TAKEN
from modalign.modalities.vision_language.model_checks import placed
from modalign.modalities.vision_language.prompts import AUDIO, question
from modalign.modalities.vision_language.sounds import hears, sound_features
from modalign.modalities.vision_language.tokenization import MediaPrompt, MediaTokenizer

PROBE_SECONDS = (0.31, 0.87)
"""Of lengths that no hop divides: processors and towers may round them apart."""

CURE = "Use the processor that belongs to the model (modality.processor)."


def check_processor(processor: Any) -> None:
    """Refuse a processor that takes no text with its sounds, or that makes something else of a sound each time.

    Raises:
        UserError: It takes none.
        ConfigError: It draws.
    """
    if "audio" not in inspect.signature(type(processor).__call__).parameters:
        raise UserError(
            f"A {type(processor).__name__} cannot be called with the text of a prompt and its sounds, which this "
            "modality does.",
            "Name a model whose processor can, such as a Qwen2-Audio, Qwen2.5-Omni, Audio Flamingo 3 or GLM-ASR.",
        )
    extractor = extractor_of(processor)
    if getattr(extractor, "dither", 0):
        raise ConfigError(
            f"The {type(extractor).__name__} adds random noise to sounds (dither {extractor.dither}), so that policy "
            "and reference would hear different ones.",
            "Set dither to 0 in the processor's preprocessor_config.json or processor_config.json.",
        )


def check_no_adapter(model: Any) -> None:
    """Refuse a model that was loaded with an adapter of its own: the reference would be without it.

    Raises:
        UserError: It has one.
    """
    if getattr(model, "_hf_peft_config_loaded", False):
        raise UserError(
            f"A {type(model).__name__} comes with an adapter of its own ({', '.join(model.peft_config)}), which would "
            "be switched off where the policy's is.",
            "Merge it into the model's weights, and name the folder of the merged model.",
        )


def check_audio_tokens(model: Any, tokens: MediaTokenizer, sounds: Sounds) -> None:
    """Refuse a processor that does not fit the model, by sounds of a probe.

    The model's tower has to give as many features as the processor leaves places; where the tower cannot be asked, the
    model itself has to take the prompt.

    Raises:
        ConfigError: The processor cannot write a prompt with a sound, the model does not take it, or it draws.
    """
    for seconds in PROBE_SECONDS:
        clip = Clip(torch.zeros(1, round(seconds * sounds.rate)), sounds.rate)
        try:
            prompt = tokens.prompt(question("?", [clip], AUDIO), {})
        except RowError as error:
            raise ConfigError(f"The {type(tokens.processor).__name__} cannot be used: {error.message}", CURE) from error
        found = _features(model, prompt)
        if found is None:
            _check_forward(model, prompt, tokens)
        elif found != (places := prompt.ids.count(model.config.audio_token_id)):
            raise ConfigError(
                f"{type(model).__name__} gives {found} features for a sound of {seconds} seconds, and the processor "
                f"leaves {places} places.",
                CURE,
            )


def _features(model: Any, prompt: MediaPrompt) -> int | None:
    """How many a model's tower gives for the sounds of a prompt; None where it cannot be asked."""
    if not hears(model):
        return None
    try:
        with eval_mode(model), torch.no_grad():
            return len(sound_features(model, {name: placed(value, model) for name, value in prompt.media.items()}))
    except NOT_TAKEN:
        return None


def _check_forward(model: Any, prompt: MediaPrompt, tokens: MediaTokenizer) -> None:
    """Call a model with what its processor made of a prompt."""
    own = [model.device] if model.device.type == "cuda" else []  # by default, every GPU there is would be begun to use
    try:
        with torch.random.fork_rng(devices=own):
            first, second = (_logits(model, prompt) for _ in range(2))
    except NOT_TAKEN as error:
        raise ConfigError(
            f"{type(model).__name__} cannot take the sounds of its {type(tokens.processor).__name__}: {error}", CURE
        ) from error
    # Some GPU kernels add in another order each time.
    if not torch.allclose(first.float(), second.float(), rtol=1e-3, atol=1e-3, equal_nan=True):
        raise ConfigError(
            f"{type(model).__name__} hears the same sound in another way each time, so that policy and reference would "
            "hear different ones.",
            "Name another model.",
        )


def _logits(model: Any, prompt: MediaPrompt) -> Tensor:
    ids = torch.tensor([prompt.ids])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **prompt.media}
    inputs |= {name: value[None] for name, value in prompt.token_wise.items()}
    with eval_mode(model), torch.no_grad():
        logits: Tensor = model(**{name: placed(value, model) for name, value in inputs.items()}).logits
    return logits
