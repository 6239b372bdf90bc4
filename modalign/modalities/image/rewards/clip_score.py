"""How well an image and its prompt agree, as a CLIP model sees it."""

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import normalize

from modalign.core.devices import device_of
from modalign.core.errors import ConfigError, UserError, did_you_mean
from modalign.core.reward import Reward
from modalign.modalities.image.rewards.clip_models import ClipModel, load_clip

Backend = Literal["transformers", "open_clip"]
Scale = Literal["cosine", "hessel", "percent", "logit"]
Dtype = Literal["float32", "float16", "bfloat16"]
Resize = Literal["shortest", "longest", "squash"]


class ClipScore(Reward):
    """The cosine of an image's and its prompt's CLIP vectors, scaled.

    Models such as PickScore (`scale: logit`) and HPSv2 (`backend: open_clip`, `model: ViT-H-14`, `weights` the file,
    `resize: longest`) are CLIP models fine-tuned on preferences, and are loaded the same way.

    The model is loaded when it is first needed.

    Args:
        model: A folder or a hub id; for open_clip also the name of an architecture, with `weights`.
        backend: The library whose files these are.
        scale: `cosine`: from -1 to 1. `hessel`: 2.5 max(cosine, 0), the CLIPScore of arXiv 2104.08718. `percent`:
            100 max(cosine, 0). `logit`: times the scale that the model learned, as PickScore (arXiv 2305.01569) does.
        weights: For open_clip: a file or a tag.
        processor: For transformers: where the processor is, if not with the model.
        revision: For transformers: of a hub id.
        resize: For open_clip: how images become square, if not as the model was made: `shortest`, `longest`, `squash`.
        batch_size: How many images or texts are encoded at once.
        device: Where it computes; a GPU where there is one, if None.
        dtype: What it computes in; vectors are compared in float32.

    Attributes:
        cut: How many prompts were longer than the model reads, and cut, of those scored so far.

    Raises:
        ConfigError: An option is unknown or has no effect with the backend.
    """

    name: ClassVar[str] = "clip_score"
    modalities: ClassVar[frozenset[str]] = frozenset({"image"})

    def __init__(
        self,
        model: str,
        backend: Backend = "transformers",
        scale: Scale = "cosine",
        weights: str | None = None,
        processor: str | None = None,
        revision: str | None = None,
        resize: Resize | None = None,
        batch_size: int = 16,
        device: str | None = None,
        dtype: Dtype = "float32",
    ) -> None:
        for option, value, kind in (("backend", backend, Backend), ("scale", scale, Scale), ("dtype", dtype, Dtype)):
            if value not in get_args(kind):
                raise ConfigError(f"clip_score: {option} is {value!r}.", did_you_mean(str(value), get_args(kind)))
        if resize is not None and resize not in get_args(Resize):
            raise ConfigError(f"clip_score: resize is {resize!r}.", did_you_mean(str(resize), get_args(Resize)))
        if batch_size < 1:
            raise ConfigError(f"clip_score: batch_size is {batch_size}.", "Give at least 1.")
        own = {
            "open_clip": {"weights": weights, "resize": resize},
            "transformers": {"processor": processor, "revision": revision},
        }
        other = own["transformers" if backend == "open_clip" else "open_clip"]
        if idle := [option for option, value in other.items() if value is not None]:
            raise ConfigError(
                f"clip_score: {' and '.join(idle)} have no effect with backend {backend}.", "Remove them."
            )
        self.model, self.backend, self.scale = model, backend, scale
        self.batch_size, self.device, self.dtype = batch_size, device, dtype
        self.cut = 0
        self._options = {"model": model, **own[backend]}

    def score(self, prompts: Sequence[Any], candidates: Sequence[Any]) -> Tensor:
        """Score N images.

        Args:
            prompts: N texts.
            candidates: N images, `Media` or PIL.

        Returns:
            `(N,)` float32, on the CPU.

        Raises:
            UserError: A prompt is no text, an image cannot be decoded, or the model cannot be loaded.
        """
        from modalign.modalities.image.decoding import decode_image

        if strange := [prompt for prompt in prompts if not isinstance(prompt, str)]:
            raise UserError(f"clip_score was given a prompt of type {type(strange[0]).__name__}.", "Prompts are text.")
        if not prompts:
            return torch.zeros(0)
        different = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
        self._count_cut(prompts)
        with torch.inference_mode():
            texts = self._encoded(self._clip.texts, list(different))[[different[prompt] for prompt in prompts]]
            images = self._encoded(lambda batch: self._clip.images([decode_image(each) for each in batch]), candidates)
            return self._scaled((texts * images).sum(-1)).clone()

    @cached_property
    def _clip(self) -> ClipModel:
        return load_clip(self.backend, self._options, device_of(self.device), self.dtype)

    def _encoded(self, encode: Any, inputs: Sequence[Any]) -> Tensor:
        """`(N, D)` float32 vectors of length 1."""
        starts = range(0, len(inputs), self.batch_size)
        vectors = [encode(inputs[start : start + self.batch_size]).float().cpu() for start in starts]
        return normalize(torch.cat(vectors), dim=-1)

    def _scaled(self, cosines: Tensor) -> Tensor:
        if self.scale == "cosine":
            return cosines
        if self.scale == "logit":
            return cosines * self._clip.logit_scale
        return cosines.clamp(min=0) * (2.5 if self.scale == "hessel" else 100)

    def _count_cut(self, prompts: Sequence[str]) -> None:
        count = self._clip.too_long(prompts)
        if count and not self.cut:
            warnings.warn(
                f"clip_score: {count} of {len(prompts)} prompts are longer than the {self._clip.longest} tokens that "
                "the model reads, and are cut; later ones are only counted",
                stacklevel=3,
            )
        self.cut += count

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_clip"}
