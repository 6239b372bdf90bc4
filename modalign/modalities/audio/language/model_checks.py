"""A check that a model's audio tower gives as many features as the processor leaves places for."""

from typing import Any

import torch

from modalign.core.errors import ConfigError
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.language.sounds import Sounds
from modalign.modalities.modes import eval_mode
from modalign.modalities.vision_language.model_checks import NOT_TAKEN, placed
from modalign.modalities.vision_language.prompts import AUDIO, question
from modalign.modalities.vision_language.sounds import hears, sound_features
from modalign.modalities.vision_language.tokenization import MediaTokenizer

PROBE_SECONDS = (0.31, 0.87)
"""Of lengths that no hop divides: processors and towers may round them apart."""


def check_audio_tokens(model: Any, tokens: MediaTokenizer, sounds: Sounds) -> None:
    """Refuse a processor that does not fit the model, by sounds of a probe.

    Models whose features are not put into the places of tokens here have nothing to compare.

    Raises:
        ConfigError: The tower does not take the processor's tensors, or gives another number of features.
    """
    if not hears(model):
        return
    for seconds in PROBE_SECONDS:
        clip = Clip(torch.zeros(1, round(seconds * sounds.rate)), sounds.rate)
        prompt = tokens.prompt(question("?", [clip], AUDIO), {})
        media = {name: placed(value, model) for name, value in prompt.media.items()}
        try:
            with eval_mode(model), torch.no_grad():
                found = len(sound_features(model, media))
        except NOT_TAKEN as error:
            raise ConfigError(
                f"{type(model).__name__} cannot encode the sounds of its {type(tokens.processor).__name__}: {error}",
                "Use the processor that belongs to the model (modality.processor).",
            ) from error
        places = prompt.ids.count(model.config.audio_token_id)
        if found != places:
            raise ConfigError(
                f"{type(model).__name__} gives {found} features for a sound of {seconds} seconds, and the processor "
                f"leaves {places} places.",
                "Use the processor that belongs to the model (modality.processor).",
            )
