"""A check that a model's vision tower gives as many features as the processor leaves places for."""

from typing import Any

import torch
from PIL import Image
from torch import Tensor

from modalign.core.errors import ConfigError
from modalign.modalities.modes import eval_mode
from modalign.modalities.vision_language.prompts import question
from modalign.modalities.vision_language.tokenization import MediaPrompt, MediaTokenizer

PROBE_SIZES = ((96, 64), (57, 161))
"""Wide and tall, and of sides that no patch divides: processors and towers may round them apart."""

NOT_TAKEN = (ValueError, RuntimeError, TypeError, IndexError)


def check_image_tokens(model: Any, tokens: MediaTokenizer) -> None:
    """Refuse a processor that does not fit the model, by images of a probe.

    Families whose images are no tokens of the prompt (Mllama's cross-attention) have nothing to compare.

    Raises:
        ConfigError: The tower does not take the processor's tensors, or gives another number of features.
    """
    token = getattr(model.config, "image_token_id", None)
    if token is None or not hasattr(model.base_model, "get_image_features"):
        return
    for size in PROBE_SIZES:
        prompt = tokens.prompt(question("?", [Image.new("RGB", size, "white")]), {})
        found, places = _features(model, prompt, tokens), prompt.ids.count(token)
        if found != places:
            raise ConfigError(
                f"{type(model).__name__} gives {found} features for an image of {size[0]} x {size[1]} pixels, and the "
                f"processor leaves {places} places.",
                "Use the processor that belongs to the model (modality.processor); patch_size, image_seq_length and "
                "vision_feature_select_strategy in processor_config.json decide the number.",
            )


def _features(model: Any, prompt: MediaPrompt, tokens: MediaTokenizer) -> int:
    """How many features a model's tower gives for the images of a prompt."""
    vision = {name: placed(value, model) for name, value in prompt.media.items()}
    try:
        with eval_mode(model), torch.no_grad():
            features = model.base_model.get_image_features(**vision, return_dict=True).pooler_output
    except NOT_TAKEN as error:
        raise ConfigError(
            f"{type(model).__name__} cannot encode the images of its {type(tokens.processor).__name__}: {error}",
            "Use the processor that belongs to the model (modality.processor).",
        ) from error
    parts = [features] if isinstance(features, Tensor) else list(features)
    return sum(part.shape[:-1].numel() for part in parts)


def placed(value: Tensor, model: Any) -> Tensor:
    """A tensor as a model takes it: on its device, floating point in its dtype."""
    return value.to(model.device, model.dtype) if value.is_floating_point() else value.to(model.device)
