"""Which vectors may be nearest to others: by a blocked matrix product, or by an index of faiss."""

from abc import ABC, abstractmethod
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modalign.core.errors import ConfigError, did_you_mean

Vectors = NDArray[np.float32]
IndexKind = Literal["auto", "blocked", "flat", "hnsw", "ivf"]

BLOCKED_UP_TO = 50_000
"""With more vectors, `auto` takes faiss's exact index."""

BLOCK_NUMBERS = 2**26
"""How many products are held at once: 256 MiB in float32."""

NONE = -1
"""Stands for a neighbour where an approximate index has found too few."""


class Search(ABC):
    """Finds the vectors with the largest inner products.

    Args:
        vectors: `(N, D)` float32.
    """

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors

    @property
    def queries_at_once(self) -> int:
        """For how many queries the products with all vectors stay small."""
        return max(1, BLOCK_NUMBERS // max(1, len(self.vectors)))

    @abstractmethod
    def nearest(self, queries: Vectors, depth: int) -> tuple[Vectors, NDArray[np.int64]]:
        """The inner products, largest first, and the numbers of the nearest vectors, each `(Q, depth)`.

        Products may be off by float32 rounding, and equal ones stand in any order.
        """


class BlockedSearch(Search):
    """Exact: all products, a block of queries at a time.

    Args:
        vectors: `(N, D)` float32.
        device: Where it computes.
    """

    def __init__(self, vectors: Vectors, device: torch.device) -> None:
        super().__init__(vectors)
        self._all: Tensor = torch.from_numpy(vectors).to(device)

    def nearest(self, queries: Vectors, depth: int) -> tuple[Vectors, NDArray[np.int64]]:
        products = torch.from_numpy(queries).to(self._all.device) @ self._all.T
        best = products.topk(depth, dim=1)
        return best.values.cpu().numpy(), best.indices.cpu().numpy()


class FaissSearch(Search):
    """By an index of faiss, built with one thread, since its graphs depend on the order in which threads come.

    Args:
        vectors: `(N, D)` float32.
        kind: `flat` is exact; `hnsw` (a graph, Malkov and Yashunin 2016) and `ivf` (cells, of which an eighth is looked
            at) are not.
    """

    def __init__(self, vectors: Vectors, kind: Literal["flat", "hnsw", "ivf"]) -> None:
        super().__init__(vectors)
        import faiss

        self._faiss, self._kind = faiss, kind
        cells = max(1, int(np.sqrt(len(vectors))))
        recipe = {"flat": "Flat", "hnsw": "HNSW32,Flat", "ivf": f"IVF{cells},Flat"}[kind]
        make: Any = faiss.index_factory
        self._index = make(vectors.shape[1], recipe, faiss.METRIC_INNER_PRODUCT)
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        try:
            if kind == "hnsw":
                self._index.hnsw.efConstruction = 200
            if kind == "ivf":
                self._index.nprobe = max(1, cells // 8)
                self._index.train(vectors)
            self._index.add(vectors)
        finally:
            faiss.omp_set_num_threads(threads)

    def nearest(self, queries: Vectors, depth: int) -> tuple[Vectors, NDArray[np.int64]]:
        if self._kind == "hnsw":
            self._index.hnsw.efSearch = max(128, 2 * depth)
        products, numbers = self._index.search(queries, depth)
        return products, numbers


def check_index(kind: str) -> None:
    """Refuse what `open_search` cannot open.

    Raises:
        ConfigError: There is no such kind.
    """
    if kind not in get_args(IndexKind):
        raise ConfigError(f"The index {kind!r} is unknown.", did_you_mean(kind, get_args(IndexKind)))


def open_search(vectors: Vectors, kind: IndexKind, device: torch.device) -> Search:
    """The search of that kind; see `check_index` for the errors.

    Args:
        vectors: `(N, D)` float32.
        kind: `auto` is `blocked` for up to `BLOCKED_UP_TO` vectors, and `flat` for more.
        device: Where `blocked` computes.
    """
    check_index(kind)
    if kind == "blocked" or (kind == "auto" and len(vectors) <= BLOCKED_UP_TO):
        return BlockedSearch(vectors, device)
    return FaissSearch(vectors, "flat" if kind == "auto" else kind)
