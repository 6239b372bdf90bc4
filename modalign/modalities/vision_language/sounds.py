"""What the audio towers of transformers' models make of spectra."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from modalign.core.errors import ConfigError
from modalign.modalities.modes import weights_dtype

QWEN2_AUDIO = "qwen2_audio"

SPECTRA = "input_features"
"""What every processor of sounds returns."""


def hears(causal: Any) -> bool:
    """Whether a model has a tower whose features take the places of audio tokens."""
    known = causal.config.model_type == QWEN2_AUDIO or hasattr(causal.base_model, "get_audio_features")
    return known and getattr(causal.config, "audio_token_id", None) is not None


def sound_features(causal: Any, media: Mapping[str, Tensor]) -> Tensor:
    """`(M, H)`: what stands in the places of the M audio tokens of some sounds, one after another.

    Args:
        causal: A model that `hears`.
        media: What its processor returned for the sounds.

    Raises:
        ValueError: The model pads the features of sounds to one length, and alone knows which of them it takes.
    """
    media = as_taken(causal, media)
    if causal.config.model_type == QWEN2_AUDIO:
        return _qwen2_audio(causal.base_model, **media)
    get = causal.base_model.get_audio_features
    taken = {name: value for name, value in media.items() if name in inspect.signature(get).parameters}
    features: Tensor = get(**taken, return_dict=True).pooler_output
    if features.dim() != 2:
        raise ValueError(f"{type(causal).__name__} pads the features of its sounds")
    return features


def as_taken(causal: Any, media: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same, spectra in the dtype of a model's weights, which not every tower brings them to."""
    dtype = weights_dtype(causal)
    return {name: value.to(dtype) if name == SPECTRA else value for name, value in media.items()}


def check_places(features: int, places: int) -> None:
    """Refuse sounds whose features do not fill the tokens that stand for them.

    Raises:
        ConfigError: There are more or fewer.
    """
    if features != places:
        raise ConfigError(
            f"The model makes {features} features of a prompt's sounds, and the processor leaves {places} places.",
            "Use the processor that belongs to the model (modality.processor).",
        )


def _qwen2_audio(base: Any, input_features: Tensor, feature_attention_mask: Tensor) -> Tensor:
    """As `Qwen2AudioModel.forward` has it, which has no method of its own for it."""
    from transformers.masking_utils import create_bidirectional_mask

    tower = base.audio_tower
    frames, tokens = tower._get_feat_extract_output_lengths(feature_attention_mask.sum(-1))
    width = (input_features.shape[-1] - 2) // 2 + 1
    mask = create_bidirectional_mask(
        config=tower.config,
        inputs_embeds=torch.zeros(len(input_features), width, 1, dtype=base.dtype, device=input_features.device),
        attention_mask=_first(frames, width).long(),
    )
    features = base.multi_modal_projector(tower(input_features, attention_mask=mask).last_hidden_state)
    heard: Tensor = features[_first(tokens, features.shape[1])]
    return heard


def _first(lengths: Tensor, width: int) -> Tensor:
    """`(N, width)` bool: the first places of each row."""
    return torch.arange(width, device=lengths.device) < lengths[:, None]
