"""Each image's nearest other images, whatever found them, in an order that does not depend on how."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modalign.modalities.vision_language.build.search import NONE, Search, Vectors

DECIMALS = 8
"""Similarities are compared to so many decimals, and equal ones by the images' numbers: in the last bits, products
depend on the order in which a library adds."""

_ROUNDING = 1e-5
"""More than float32 products of unit vectors are off by."""

_SPARE = 8
"""How many more are looked at than are wanted, so that few ties at the end make a second look necessary."""


@dataclass(frozen=True)
class Neighbours:
    """The ranked neighbours of N images.

    Attributes:
        numbers: `(N, k)` int64; `NONE` where there are fewer in the band.
        similarities: `(N, k)` float64, NaN where there is no neighbour.
    """

    numbers: NDArray[np.int64]
    similarities: NDArray[np.float64]

    def of(self, number: int) -> list[tuple[int, float]]:
        """The neighbours of an image and their similarities, most similar first."""
        found = self.numbers[number] != NONE
        pairs = zip(self.numbers[number][found].tolist(), self.similarities[number][found].tolist(), strict=True)
        return list(pairs)


def rank_neighbours(search: Search, k: int, band: tuple[float, float]) -> Neighbours:
    """The `k` most similar other images of each image, among those whose similarity is in the band.

    Equal vectors of different images are neighbours like any others.

    Args:
        search: Over unit vectors, so that products are cosines.
        k: At most so many.
        band: The least and the greatest similarity, both included.
    """
    count = len(search.vectors)
    found = Neighbours(np.full((count, k), NONE, np.int64), np.full((count, k), np.nan))
    for start in range(0, count, search.queries_at_once):
        waiting = np.arange(start, min(start + search.queries_at_once, count))
        depth = min(count, k + 1 + _SPARE)
        while waiting.size:
            products, numbers = search.nearest(search.vectors[waiting], depth)
            again = [
                query
                for query, last, seen in zip(waiting.tolist(), products[:, -1].tolist(), numbers, strict=True)
                if not _rank(found, search.vectors, query, seen, last, band) and depth < count
            ]
            waiting, depth = np.array(again, np.int64), min(count, 2 * depth)
    return found


def _rank(
    found: Neighbours,
    vectors: Vectors,
    query: int,
    seen: NDArray[np.int64],
    last: float,
    band: tuple[float, float],
) -> bool:
    """Rank what a search has seen; False where what it has not seen may belong among them.

    Args:
        found: Takes the result.
        vectors: Of all images.
        query: The image's number.
        seen: Its nearest images' numbers.
        last: The product with the least similar of them.
        band: The least and the greatest similarity.
    """
    others = np.sort(seen[(seen != query) & (seen != NONE)])
    exact = _cosines(vectors[query], vectors[others])
    inside = (exact >= band[0]) & (exact <= band[1])
    others, exact = others[inside], exact[inside]
    order = np.argsort(-exact, kind="stable")[: found.numbers.shape[1]]
    found.numbers[query, : len(order)] = others[order]
    found.similarities[query, : len(order)] = exact[order]
    settled = int((exact > last + _ROUNDING).sum())
    return settled >= found.numbers.shape[1] or last < band[0] - _ROUNDING


def _cosines(vector: Vectors, others: Vectors) -> NDArray[np.float64]:
    """Pair by pair in float64, so that a similarity is the same whichever search has come upon the pair.

    Args:
        vector: `(D,)`.
        others: `(M, D)`.
    """
    first, second = vector.astype(np.float64), others.astype(np.float64)
    lengths = np.sqrt((first * first).sum(-1) * (second * second).sum(-1))
    cosines: NDArray[np.float64] = (second * first).sum(-1) / lengths
    return cosines.round(DECIMALS)
