"""CLIP models of two libraries behind one face: images and texts become vectors that can be compared."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from modalign.core.errors import UserError
from modalign.core.hub import resolve_model

if TYPE_CHECKING:
    from PIL.Image import Image

_PROCESSOR_CONFIGS = ("preprocessor_config.json", "processor_config.json")
_OPEN_CLIP_CONFIG = "open_clip_config.json"
_PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


class ClipModel(ABC):
    """A frozen CLIP model on a device.

    Attributes:
        longest: How many tokens of a text are read at most, the marks at both ends included.
        logit_scale: What cosines are multiplied by in training, `exp` of the parameter.
    """

    longest: int
    logit_scale: float

    @abstractmethod
    def images(self, images: Sequence["Image"]) -> Tensor:
        """`(N, D)`: the vectors of RGB images, preprocessed as the model wants them."""

    @abstractmethod
    def texts(self, texts: Sequence[str]) -> Tensor:
        """`(N, D)`: the vectors of texts, cut to `longest` tokens."""

    @abstractmethod
    def too_long(self, texts: Sequence[str]) -> int:
        """How many of the texts have more than `longest` tokens."""


class TransformersClip(ClipModel):
    """A `CLIPModel` of transformers.

    Args:
        model: A folder or a hub id.
        processor: Where the processor is; with the model where None.
        revision: Of hub ids.
        device: Where it computes.
        dtype: What it computes in.

    Raises:
        UserError: There is no such model, or it is no CLIP model.
    """

    def __init__(
        self, model: str, processor: str | None, revision: str | None, device: torch.device, dtype: torch.dtype
    ) -> None:
        from transformers import AutoConfig, CLIPModel, CLIPProcessor

        source = _transformers_source(model, revision)
        try:
            config = AutoConfig.from_pretrained(source, revision=revision)
            if config.model_type != "clip":
                raise UserError(f"{model!r} holds a model of type {config.model_type!r}.", "Name a CLIP model.")
            loaded = CLIPModel.from_pretrained(source, revision=revision, dtype=dtype)
            files = source if processor is None else resolve_model(processor, _PROCESSOR_CONFIGS)
            self._processor = CLIPProcessor.from_pretrained(files, revision=revision if processor is None else None)
        except (OSError, ValueError) as error:
            raise UserError(f"The CLIP model {model!r} cannot be loaded: {error}", _CURE) from error
        self._model = loaded.to(device).eval().requires_grad_(False)
        self._device, self._dtype = device, dtype
        self.longest = int(config.text_config.max_position_embeddings)
        self.logit_scale = float(loaded.logit_scale.float().exp())

    def images(self, images: Sequence["Image"]) -> Tensor:
        pixels = self._processor.image_processor(images=list(images), return_tensors="pt")["pixel_values"]
        features = self._model.get_image_features(pixel_values=pixels.to(self._device, self._dtype))
        vectors: Tensor = features.pooler_output
        return vectors

    def texts(self, texts: Sequence[str]) -> Tensor:
        tokens = self._processor.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.longest, return_tensors="pt"
        )
        vectors: Tensor = self._model.get_text_features(**tokens.to(self._device)).pooler_output
        return vectors

    def too_long(self, texts: Sequence[str]) -> int:
        tokens = self._processor.tokenizer(list(texts), verbose=False)["input_ids"]
        return sum(len(ids) > self.longest for ids in tokens)


class OpenClip(ClipModel):
    """A model of open_clip.

    Args:
        model: A folder or a hub id with open_clip's own files; or, with `weights`, the name of an architecture.
        weights: A file (.safetensors, or .pt without code in it) or a tag that open_clip knows.
        resize: How images that are not square become so: `shortest` crops, `longest` pads, `squash` distorts; what the
            model was made with where None.
        device: Where it computes.
        dtype: What it computes in: `float32`, `float16` or `bfloat16`.

    Raises:
        UserError: There is no such model, or it cannot be loaded.
    """

    def __init__(self, model: str, weights: str | None, resize: str | None, device: torch.device, dtype: str) -> None:
        import open_clip

        name = _open_clip_name(model, weights)
        if weights is not None and Path(weights).expanduser().is_file():
            weights = str(Path(weights).expanduser())
        precision = _PRECISIONS[dtype]
        try:
            self._model, self._preprocess = open_clip.create_model_from_pretrained(
                name, weights, precision=precision, device=device, image_resize_mode=resize, weights_only=True
            )
            self._tokenizer = open_clip.get_tokenizer(name)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"The CLIP model {model!r} cannot be loaded by open_clip: {error}", _CURE) from error
        self._model.eval().requires_grad_(False)
        self._device, self._dtype = device, getattr(torch, dtype)
        self.longest = int(self._model.context_length)
        self.logit_scale = float(self._model.logit_scale.float().exp())

    def images(self, images: Sequence["Image"]) -> Tensor:
        pixels = torch.stack([self._preprocess(image) for image in images])
        vectors: Tensor = self._model.encode_image(pixels.to(self._device, self._dtype))
        return vectors

    def texts(self, texts: Sequence[str]) -> Tensor:
        vectors: Tensor = self._model.encode_text(self._tokens(texts, self.longest).to(self._device))
        return vectors

    def too_long(self, texts: Sequence[str]) -> int:
        # With room for one token more, only a text that is too long fills it; an empty text shows what fills the rest.
        wider = self._tokens([*texts, ""], self.longest + 1)
        return int((wider[:-1, -1] != wider[-1, -1]).sum())

    def _tokens(self, texts: Sequence[str], room: int) -> Tensor:
        tokens: Tensor = self._tokenizer(list(texts), context_length=room)
        return tokens


_CURE = "Name a folder or a hub id with the files of that library; see the options model, weights and backend."


def _transformers_source(model: str, revision: str | None) -> str:
    folder = Path(model).expanduser()
    if (folder / _OPEN_CLIP_CONFIG).is_file() and not (folder / "config.json").is_file():
        raise UserError(f"{model!r} holds a model of open_clip.", "Set backend: open_clip.")
    return resolve_model(model, ("config.json",), revision)


def _open_clip_name(model: str, weights: str | None) -> str:
    """What open_clip calls it: an architecture, or a folder or hub id with its kind before it."""
    import open_clip

    if weights is not None:
        if model not in open_clip.list_models():
            raise UserError(
                f"open_clip knows no architecture {model!r}, which the weights {weights!r} are for.",
                "Name one of `open_clip.list_models()`, such as ViT-H-14; a folder or hub id needs no weights.",
            )
        return model
    if model in open_clip.list_models():
        raise UserError(
            f"{model!r} is the name of an architecture, and no weights are given.",
            "Give weights: a file, or a tag of `open_clip.list_pretrained()`.",
        )
    source = resolve_model(model, (_OPEN_CLIP_CONFIG,))
    return f"local-dir:{source}" if Path(source).is_dir() else f"hf-hub:{source}"


def load_clip(backend: str, options: dict[str, Any], device: torch.device, dtype: str) -> ClipModel:
    """The model that a reward's options name.

    Args:
        backend: `transformers` or `open_clip`.
        options: `model`, and the options of that backend.
        device: Where it computes.
        dtype: What it computes in.

    Raises:
        UserError: It cannot be loaded.
    """
    if backend == "open_clip":
        return OpenClip(**options, device=device, dtype=dtype)
    return TransformersClip(**options, device=device, dtype=getattr(torch, dtype))
