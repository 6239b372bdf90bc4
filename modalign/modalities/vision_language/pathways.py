"""The ways in which media reach a language model, and what it is called with on each.

| pathway         |                                                                                                   |
|-----------------|---------------------------------------------------------------------------------------------------|
| `Merged`        | `get_image_features` encodes; the forward takes `mm_encoder_outputs` (most families)              |
| `Embedded`      | the audio tower encodes; the forward takes `inputs_embeds`, features in the places of sounds      |
| `CrossAttended` | the vision model encodes; the forward takes `cross_attention_states` (Mllama)                     |
| `RowByRow`      | a forward for each cell, with the tensors the processor returned for it (whatever else there is)  |
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor

from modalign.modalities.vision_language.collation import CROSS_ATTENTION, NO_MEDIA
from modalign.modalities.vision_language.features import POOLED, Features, cut_features, features_of, joined_features
from modalign.modalities.vision_language.sounds import SPECTRA, as_taken, check_places, hears, sound_features

MediaTensors = Mapping[str, Tensor]
"""What the processor returned for one set of media."""


class Pathway(ABC):
    """How media reach a model of one kind.

    Attributes:
        encodes: Whether a set of media is encoded once, however many cells have it.
        place: The entry of a model's config with the token that stands for a medium.
    """

    encodes: ClassVar[bool] = True
    place: ClassVar[str] = "image_token_id"

    @staticmethod
    @abstractmethod
    def fits(causal: Any, media: MediaTensors) -> bool:
        """Whether a model looks as if it went this way with such media."""

    def encode(self, causal: Any, media: MediaTensors) -> Features:
        """The features of one set of media, or of several whose tensors are concatenated."""
        raise NotImplementedError(f"{type(self).__name__} encodes in the forward")

    def cut(self, features: Features, tokens: Sequence[int]) -> list[Features] | None:
        """The features of each of several sets; None where they cannot be told apart.

        Args:
            features: As `encode` returned them.
            tokens: How many tokens stand for each set.
        """
        return None

    @abstractmethod
    def groups(self, inputs: dict[str, Any]) -> list[list[int]]:
        """The cells of each forward, every cell in one of them."""

    @abstractmethod
    def arguments(self, causal: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        """What the model is called with for the media of a forward's cells, beside and instead of what is token-wise.

        Args:
            causal: The model.
            inputs: As collated, of the cells of one forward, with the `features` of each of its `media`.
        """


class Merged(Pathway):
    """Features take the places of the prompts' image tokens, in the order of rows."""

    @staticmethod
    def fits(causal: Any, media: MediaTensors) -> bool:
        return hasattr(causal.base_model, "get_image_features") and _takes(causal, "mm_encoder_outputs")

    def encode(self, causal: Any, media: MediaTensors) -> Features:
        return features_of(causal.base_model.get_image_features(**media, return_dict=True))

    def cut(self, features: Features, tokens: Sequence[int]) -> list[Features] | None:
        return cut_features(features, tokens)

    def groups(self, inputs: dict[str, Any]) -> list[list[int]]:
        return [list(range(len(inputs["media_of"])))]

    def arguments(self, causal: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        rows = [number for number in inputs["media_of"] if number != NO_MEDIA]
        if not rows:
            return {}
        features = joined_features([inputs["features"][number] for number in rows])
        beside = _beside_pixels([inputs["media"][number] for number in rows])
        return {**beside, "mm_encoder_outputs": {"image": SimpleNamespace(**features)}}


class CrossAttended(Pathway):
    """Layers of their own attend to features.

    Tokens before the first image attend to all of them alike, so that rows with other numbers of images or tiles would
    change each other's results if they were padded to one width: they have forwards of their own.
    """

    @staticmethod
    def fits(causal: Any, media: MediaTensors) -> bool:
        parts = (getattr(causal.base_model, name, None) for name in ("vision_model", "multi_modal_projector"))
        return None not in parts and _takes(causal, "cross_attention_states")

    def encode(self, causal: Any, media: MediaTensors) -> Features:
        base = causal.base_model
        states = base.multi_modal_projector(base.vision_model(**media).last_hidden_state)
        return {POOLED: states.flatten(1, -2)}

    def cut(self, features: Features, tokens: Sequence[int]) -> list[Features] | None:
        return [{POOLED: states} for states in features[POOLED].split(1)]

    def groups(self, inputs: dict[str, Any]) -> list[list[int]]:
        shapes = [inputs["features"][n][POOLED].shape if n != NO_MEDIA else None for n in inputs["media_of"]]
        return [[n for n, own in enumerate(shapes) if own == shape] for shape in dict.fromkeys(shapes)]

    def arguments(self, causal: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        if not inputs["media"]:
            return {}
        states = torch.cat([inputs["features"][number][POOLED] for number in inputs["media_of"]])
        return {"cross_attention_states": states, **_own_columns(inputs)}


class Embedded(Pathway):
    """Features of sounds take the places of the audio tokens' embeddings, in the order of rows."""

    place = "audio_token_id"

    @staticmethod
    def fits(causal: Any, media: MediaTensors) -> bool:
        return SPECTRA in media and hears(causal)

    def encode(self, causal: Any, media: MediaTensors) -> Features:
        return {POOLED: sound_features(causal, media)}

    def cut(self, features: Features, tokens: Sequence[int]) -> list[Features] | None:
        return cut_features(features, tokens)

    def groups(self, inputs: dict[str, Any]) -> list[list[int]]:
        return [list(range(len(inputs["media_of"])))]

    def arguments(self, causal: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        ids = inputs["input_ids"]
        embeddings = causal.get_input_embeddings()(ids)
        places = (ids == causal.config.audio_token_id) & inputs["attention_mask"].bool()
        found = [inputs["features"][n][POOLED] if n != NO_MEDIA else None for n in inputs["media_of"]]
        for row, features in zip(places, found, strict=True):
            check_places(0 if features is None else len(features), int(row.sum()))
        heard = [features for features in found if features is not None]
        if heard:
            embeddings = embeddings.masked_scatter(places[..., None], torch.cat(heard).to(embeddings))
        return {"input_ids": None, "inputs_embeds": embeddings}


class RowByRow(Pathway):
    """Every cell with media runs alone, and encodes them again."""

    encodes = False

    @staticmethod
    def fits(causal: Any, media: MediaTensors) -> bool:
        return True

    def groups(self, inputs: dict[str, Any]) -> list[list[int]]:
        plain = [n for n, own in enumerate(inputs["media_of"]) if own == NO_MEDIA]
        alone = [[n] for n, own in enumerate(inputs["media_of"]) if own != NO_MEDIA]
        return [plain, *alone] if plain else alone

    def arguments(self, causal: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        return {**as_taken(causal, inputs["media"][0]), **_own_columns(inputs)} if inputs["media"] else {}


PATHWAYS: tuple[type[Pathway], ...] = (Embedded, Merged, CrossAttended, RowByRow)


def concatenated(media: Sequence[MediaTensors]) -> dict[str, Tensor]:
    """The tensors of several sets of media, one after another."""
    return {name: torch.cat([each[name] for each in media]) for name in media[0]}


def _takes(causal: Any, name: str) -> bool:
    return all(name in inspect.signature(part.forward).parameters for part in (causal, causal.base_model))


def _beside_pixels(images: Sequence[MediaTensors]) -> dict[str, Tensor]:
    """What may decide the tokens' positions, as the grid of an image's patches does.

    What comes in other shapes for other images says where their patches are, and only the tower reads it.
    """
    alike = (name for name in images[0] if len({each[name].shape[1:] for each in images}) == 1)
    return {name: torch.cat([each[name] for each in images]) for name in alike if not name.startswith("pixel_")}


def _own_columns(inputs: dict[str, Any]) -> dict[str, Tensor]:
    """The mask of tokens by images without columns for images that only other cells of the batch have."""
    mask = inputs["token_wise"].get(CROSS_ATTENTION)
    return {} if mask is None else {CROSS_ATTENTION: mask[:, :, : inputs["media"][0]["pixel_values"].shape[1]]}
