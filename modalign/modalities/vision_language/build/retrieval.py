"""Each image's neighbours, found once and kept on disk."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modalign.core.media import Media
from modalign.modalities.vision_language.build.embedding import Embedding
from modalign.modalities.vision_language.build.neighbours import Neighbours, rank_neighbours
from modalign.modalities.vision_language.build.plan import Plan
from modalign.modalities.vision_language.build.search import NONE, open_search

EMBEDDINGS = "embeddings"
NEIGHBOURS = "neighbours.npz"


def neighbours_of(plan: Plan, images: Sequence[Media], keys: Sequence[str]) -> Neighbours:
    """The neighbours of all images; those of an image that cannot be decoded are none, and it is nobody's.

    Args:
        plan: Says how they are found, and where they are kept.
        images: Different ones.
        keys: A hash of each one's content.

    Raises:
        UserError: No image can be decoded.
    """
    path = plan.folder / NEIGHBOURS
    kept = _read(path, len(images))
    if kept is not None:
        return kept
    options = plan.options
    embedding = Embedding(plan.folder / EMBEDDINGS, plan.embedder(), plan.embedder_identity, options.batch_size)
    vectors = embedding.vectors(images, keys)
    usable = np.flatnonzero(~np.isnan(vectors).any(axis=1))
    search = open_search(vectors[usable], options.index, plan.device)
    found = _spread(rank_neighbours(search, options.neighbours, tuple(options.similarity)), usable, len(images))
    beside = path.with_suffix(".tmp")
    with beside.open("wb") as file:
        np.savez(file, numbers=found.numbers, similarities=found.similarities)
    os.replace(beside, path)
    return found


def _spread(found: Neighbours, usable: NDArray[np.int64], count: int) -> Neighbours:
    """Neighbours among some images as neighbours among all."""
    width = found.numbers.shape[1]
    whole = Neighbours(np.full((count, width), NONE, np.int64), np.full((count, width), np.nan))
    whole.numbers[usable] = np.where(found.numbers == NONE, NONE, usable[found.numbers])
    whole.similarities[usable] = found.similarities
    return whole


def _read(path: Path, count: int) -> Neighbours | None:
    """What is on disk; None where nothing is, or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            kept = Neighbours(file["numbers"], file["similarities"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return kept if len(kept.numbers) == count else None
