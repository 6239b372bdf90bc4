"""From pictures to vectors: by the policy's own vision tower, or by a CLIP model."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn

from modalign.core.errors import ConfigError, UserError, did_you_mean
from modalign.core.modality import Modality
from modalign.modalities.image.rewards.clip_models import ClipModel, load_clip
from modalign.modalities.modes import eval_mode, unwrapped, weights_dtype
from modalign.modalities.vision_language.images import open_image

if TYPE_CHECKING:
    from PIL.Image import Image

EmbedderKind = Literal["policy", "clip", "open_clip"]
_CLIP_OPTIONS = {"clip": ("model", "processor", "revision"), "open_clip": ("model", "weights", "resize")}


class Embedder(ABC):
    """Makes vectors of pictures; loads its model when it is first asked."""

    @abstractmethod
    def vectors(self, pictures: Sequence["Image"]) -> Tensor:
        """`(N, D)`: a vector a picture, of any length."""


class PolicyEmbedder(Embedder):
    """The mean of the features that the policy's language model sees of an image: what Re-Align retrieves by.

    That is the vision tower's output behind the projector, averaged over an image's patches (and tiles). A tower's own
    pooled output, which CLIP is trained to compare, is what the embedder `clip` gives of that tower.

    Args:
        modality: A `VisionLanguage`, which has the processor.
        policy: Gives the policy.
    """

    def __init__(self, modality: Modality, policy: Callable[[], nn.Module]) -> None:
        self._modality: Any = modality
        self._policy = policy

    def vectors(self, pictures: Sequence["Image"]) -> Tensor:
        policy = self._policy()
        with eval_mode(policy):
            together = self._features(policy, pictures)
            if len(together) == len(pictures):
                return torch.stack([_mean(image) for image in together])
            # The processor made one row of all images, or several tiles of each: image by image they stay apart.
            return torch.stack([self._alone(policy, picture) for picture in pictures])

    def _alone(self, policy: nn.Module, picture: "Image") -> Tensor:
        features = [image.flatten(0, -2) for image in self._features(policy, [picture])]
        return _mean(torch.cat(features))

    def _features(self, policy: nn.Module, pictures: Sequence["Image"]) -> Sequence[Tensor]:
        """Features in whatever pieces the model returns them."""
        seen = [open_image(picture, self._modality.max_image_side) for picture in pictures]
        made = self._modality.processor.image_processor(images=seen, return_tensors="pt")
        device, dtype = next(policy.parameters()).device, weights_dtype(policy)
        vision = {
            name: value.to(device, dtype) if value.is_floating_point() else value.to(device)
            for name, value in made.items()
            if isinstance(value, Tensor)
        }
        model: Any = unwrapped(policy)
        if hasattr(model, "get_image_features"):
            features: Sequence[Tensor] = model.get_image_features(**vision, return_dict=True).pooler_output
            return features
        if "aspect_ratio_mask" in vision:  # Mllama, whose tiles are filled up to a number
            states = model.model.vision_model(**vision, return_dict=True).last_hidden_state
            return [states[vision["aspect_ratio_mask"].bool()]]
        raise UserError(
            f"{type(model).__name__} has no get_image_features, which the embedder `policy` asks.",
            "Use the embedder clip or open_clip.",
        )


class ClipEmbedder(Embedder):
    """A CLIP model's vectors of images.

    Args:
        kind: `clip` for transformers, `open_clip` for open_clip.
        options: `model`, and `processor` and `revision`, or `weights` and `resize`.
        device: Where it computes.
    """

    def __init__(self, kind: Literal["clip", "open_clip"], options: Mapping[str, Any], device: torch.device) -> None:
        backend = {"clip": "transformers"}.get(kind, kind)
        absent = dict.fromkeys(_CLIP_OPTIONS[kind])
        self._load = partial(load_clip, backend, {**absent, **options}, device, "float32")

    @cached_property
    def _clip(self) -> ClipModel:
        return self._load()

    def vectors(self, pictures: Sequence["Image"]) -> Tensor:
        return self._clip.images(pictures)


def check_embedder(kind: str, options: Mapping[str, Any], modality: Modality) -> None:
    """Refuse what `open_embedder` cannot open.

    Raises:
        ConfigError: There is no such embedder, it has no such option, no model is named, or the modality has no images.
    """
    if kind not in get_args(EmbedderKind):
        raise ConfigError(f"The embedder {kind!r} is unknown.", did_you_mean(kind, get_args(EmbedderKind)))
    known = _CLIP_OPTIONS.get(kind, ())
    for name in options:
        if name not in known:
            raise ConfigError(f"The embedder {kind} has no option {name!r}.", did_you_mean(name, known))
    if known and "model" not in options:
        raise ConfigError(f"The embedder {kind} needs a model.", f"Write --embedder {kind} model=FOLDER_OR_HUB_ID.")
    if kind == "policy" and modality.name != "vision_language":
        raise ConfigError(
            f"The embedder `policy` needs a vision tower, and the modality is {modality.name!r}.",
            "Use the modality vision_language, or the embedder clip or open_clip.",
        )


def open_embedder(
    kind: str, options: Mapping[str, Any], modality: Modality, policy: Callable[[], nn.Module], device: torch.device
) -> Embedder:
    """The embedder of that kind; see `check_embedder` for the errors.

    Args:
        kind: One of `EmbedderKind`.
        options: Of a CLIP model; see `ClipEmbedder`.
        modality: Of the policy.
        policy: Gives the policy.
        device: Where a CLIP model computes.
    """
    check_embedder(kind, options, modality)
    if kind == "policy":
        return PolicyEmbedder(modality, policy)
    return ClipEmbedder("clip" if kind == "clip" else "open_clip", options, device)


def _mean(features: Tensor) -> Tensor:
    """The mean over all but the last dimension, in float32."""
    return features.float().flatten(0, -2).mean(0)
