"""The vectors of all images, computed once and kept on disk: a run that was cut off goes on where it was."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import normalize

from modalign.core.content import content_hash
from modalign.core.errors import RowError, UserError
from modalign.core.media import Media
from modalign.modalities.vision_language.build.embedders import Embedder
from modalign.modalities.vision_language.build.search import Vectors

if TYPE_CHECKING:
    from PIL.Image import Image

PART = 256
"""How many images' vectors make a file; a kill loses those of one file at most."""


class Embedding:
    """Computes vectors in parts of `PART` images; a part that is on disk is not computed again.

    A part is known by the content of its images and by what computes them. Its batches are always the same ones, so
    that its vectors are too, to the bit.

    Args:
        folder: Of the parts; made when something is written.
        embedder: Computes.
        identity: Whatever decides the embedder's vectors, as plain values.
        batch_size: How many images are embedded at once.
    """

    def __init__(self, folder: Path, embedder: Embedder, identity: Any, batch_size: int) -> None:
        self.folder, self.embedder = folder, embedder
        self.identity, self.batch_size = identity, batch_size

    def vectors(self, images: Sequence[Media], keys: Sequence[str]) -> Vectors:
        """`(N, D)` float32 of length 1; NaN for an image that cannot be decoded.

        Args:
            images: At least one.
            keys: A hash of each one's content.

        Raises:
            UserError: No image can be decoded, or a part cannot be written.
        """
        parts = [
            self._part(images[start : start + PART], keys[start : start + PART]) for start in range(0, len(keys), PART)
        ]
        width = max(part.shape[1] for part in parts)
        if not width:
            raise UserError("None of the images can be decoded.", "See the reasons by which rows are left out.")
        return np.concatenate(
            [part if part.shape[1] else np.full((len(part), width), np.nan, np.float32) for part in parts]
        )

    def _part(self, images: Sequence[Media], keys: Sequence[str]) -> Vectors:
        path = self.folder / f"{content_hash([self.identity, self.batch_size, list(keys)])}.npy"
        kept = _read(path, len(keys))
        if kept is not None:
            return kept
        vectors = self._computed(images)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            beside = path.with_suffix(f".{os.getpid()}.tmp")
            with beside.open("wb") as file:
                np.save(file, vectors)
            os.replace(beside, path)
        except OSError as error:
            raise UserError(
                f"{path} cannot be written: {error.strerror or error}", "Check rights and space."
            ) from error
        return vectors

    def _computed(self, images: Sequence[Media]) -> Vectors:
        """The vectors of one part; `(n, 0)` where none of its images can be decoded."""
        pictures = [_decoded(image) for image in images]
        usable = [number for number, picture in enumerate(pictures) if picture is not None]
        if not usable:
            return np.empty((len(images), 0), np.float32)
        readable = [picture for picture in pictures if picture is not None]
        with torch.inference_mode():
            batches = [
                normalize(self.embedder.vectors(readable[start : start + self.batch_size]).float(), dim=-1)
                .cpu()
                .numpy()
                for start in range(0, len(readable), self.batch_size)
            ]
        found = np.concatenate(batches)
        vectors = np.full((len(images), found.shape[1]), np.nan, np.float32)
        vectors[usable] = found
        return vectors


def _decoded(image: Media) -> "Image | None":
    from modalign.modalities.image.decoding import decode_image

    try:
        return decode_image(image, any_shape=True)
    except RowError:
        return None  # its rows are left out, with the reason, by whoever knows them


def _read(path: Path, count: int) -> Vectors | None:
    """A part that is on disk; None where it is not, or is damaged."""
    try:
        kept: Vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return kept if kept.dtype == np.float32 and kept.ndim == 2 and len(kept) == count else None
