"""The ways in which images reach a language model, and what it is called with on each.

| pathway         |                                                                                                   |
|-----------------|---------------------------------------------------------------------------------------------------|
| `Merged`        | `get_image_features` encodes; the forward takes `mm_encoder_outputs` (most families)              |
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

from modalign.modalities.vision_language.collation import CROSS_ATTENTION, NO_IMAGES
from modalign.modalities.vision_language.features import POOLED, Features, cut_features, features_of, joined_features

Images = Mapping[str, Tensor]
"""What the processor returned for one set of images."""


class Pathway(ABC):
    """How images reach a model of one kind.

    Attributes:
        encodes: Whether a set of images is encoded once, however many cells have it.
    """

    encodes: ClassVar[bool] = True

    @staticmethod
    @abstractmethod
    def fits(causal: Any) -> bool:
        """Whether a model looks as if it went this way."""

    def encode(self, causal: Any, images: Images) -> Features:
        """The features of one set of images, or of several whose tensors are concatenated."""
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
    def arguments(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """What the model is called with for the images of a forward's cells, beside and instead of what is token-wise.

        Args:
            inputs: As collated, of the cells of one forward, with the `features` of each of its `images`.
        """


class Merged(Pathway):
    """Features take the places of the prompts' image tokens, in the order of rows."""

    @staticmethod
    def fits(causal: Any) -> bool:
        return hasattr(causal.base_model, "get_image_features") and _takes(causal, "mm_encoder_outputs")

    def encode(self, causal: Any, images: Images) -> Features:
        return features_of(causal.base_model.get_image_features(**images, return_dict=True))

    def cut(self, features: Features, tokens: Sequence[int]) -> list[Features] | None:
        return cut_features(features, tokens)

    def groups(self, inputs: dict[str, Any]) -> list[list[int]]:
        return [list(range(len(inputs["images_of"])))]

    def arguments(self, inputs: dict[str, Any]) -> dict[str, Any]:
        rows = [number for number in inputs["images_of"] if number != NO_IMAGES]
        if not rows:
            return {}
        features = joined_features([inputs["features"][number] for number in rows])
        beside = _beside_pixels([inputs["images"][number] for number in rows])
        return {**beside, "mm_encoder_outputs": {"image": SimpleNamespace(**features)}}


class CrossAttended(Pathway):
    """Layers of their own attend to features.

    Tokens before the first image attend to all of them alike, so that rows with other numbers of images or tiles would
    change each other's results if they were padded to one width: they have forwards of their own.
    """

    @staticmethod
    def fits(causal: Any) -> bool:
        parts = (getattr(causal.base_model, name, None) for name in ("vision_model", "multi_modal_projector"))
        return None not in parts and _takes(causal, "cross_attention_states")

    def encode(self, causal: Any, images: Images) -> Features:
        base = causal.base_model
        states = base.multi_modal_projector(base.vision_model(**images).last_hidden_state)
        return {POOLED: states.flatten(1, -2)}

    def cut(self, features: Features, tokens: Sequence[int]) -> list[Features] | None:
        return [{POOLED: states} for states in features[POOLED].split(1)]

    def groups(self, inputs: dict[str, Any]) -> list[list[int]]:
        shapes = [inputs["features"][n][POOLED].shape if n != NO_IMAGES else None for n in inputs["images_of"]]
        return [[n for n, own in enumerate(shapes) if own == shape] for shape in dict.fromkeys(shapes)]

    def arguments(self, inputs: dict[str, Any]) -> dict[str, Any]:
        if not inputs["images"]:
            return {}
        states = torch.cat([inputs["features"][number][POOLED] for number in inputs["images_of"]])
        return {"cross_attention_states": states, **_own_columns(inputs)}


class RowByRow(Pathway):
    """Every cell with images runs alone, and encodes them again."""

    encodes = False

    @staticmethod
    def fits(causal: Any) -> bool:
        return True

    def groups(self, inputs: dict[str, Any]) -> list[list[int]]:
        plain = [n for n, own in enumerate(inputs["images_of"]) if own == NO_IMAGES]
        alone = [[n] for n, own in enumerate(inputs["images_of"]) if own != NO_IMAGES]
        return [plain, *alone] if plain else alone

    def arguments(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {**inputs["images"][0], **_own_columns(inputs)} if inputs["images"] else {}


PATHWAYS: tuple[type[Pathway], ...] = (Merged, CrossAttended, RowByRow)


def concatenated(images: Sequence[Images]) -> dict[str, Tensor]:
    """The tensors of several sets of images, one after another."""
    return {name: torch.cat([each[name] for each in images]) for name in images[0]}


def _takes(causal: Any, name: str) -> bool:
    return all(name in inspect.signature(part.forward).parameters for part in (causal, causal.base_model))


def _beside_pixels(images: Sequence[Images]) -> dict[str, Tensor]:
    """What may decide the tokens' positions, as the grid of an image's patches does.

    What comes in other shapes for other images says where their patches are, and only the tower reads it.
    """
    alike = (name for name in images[0] if len({each[name].shape[1:] for each in images}) == 1)
    return {name: torch.cat([each[name] for each in images]) for name in alike if not name.startswith("pixel_")}


def _own_columns(inputs: dict[str, Any]) -> dict[str, Tensor]:
    """The mask of tokens by images without columns for images that only other cells of the batch have."""
    mask = inputs["token_wise"].get(CROSS_ATTENTION)
    return {} if mask is None else {CROSS_ATTENTION: mask[:, :, : inputs["images"][0]["pixel_values"].shape[1]]}
