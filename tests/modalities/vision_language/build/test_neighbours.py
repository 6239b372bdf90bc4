"""Neighbours: the planted one among thousands, the same by every search, whatever ties there are."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modalign.core.errors import ConfigError
from modalign.modalities.vision_language.build import search as search_module
from modalign.modalities.vision_language.build.neighbours import rank_neighbours
from modalign.modalities.vision_language.build.search import NONE, BlockedSearch, FaissSearch, Search, open_search

ALL = (-1.0, 1.0)
CPU = torch.device("cpu")


def unit(values: Any, dtype: Any = np.float32) -> Any:
    values = values.astype(np.float64)
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(dtype)


def random_vectors(count: int, width: int = 16, seed: int = 0) -> Any:
    return unit(np.random.default_rng(seed).standard_normal((count, width)))


def searches(vectors: Any) -> list[Search]:
    return [BlockedSearch(vectors, CPU), FaissSearch(vectors, "flat")]


def brute(vectors: Any, k: int, band: tuple[float, float] = ALL) -> Any:
    """By sorting all similarities of every image, in float64."""
    exact = unit(vectors, np.float64)
    numbers = np.full((len(vectors), k), NONE)
    for query in range(len(vectors)):
        cosines = np.round([float(np.sum(exact[query] * other)) for other in exact], 8)
        others = [n for n in range(len(vectors)) if n != query and band[0] <= cosines[n] <= band[1]]
        best = sorted(others, key=lambda n: (-cosines[n], n))[:k]
        numbers[query, : len(best)] = best
    return numbers


def test_the_planted_neighbour_is_first_among_5000_and_always(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = random_vectors(5000, 32)
    draw = np.random.default_rng(1)
    pairs = draw.permutation(5000).reshape(-1, 2)[:1000]
    vectors[pairs[:, 1]] = unit(vectors[pairs[:, 0]] + 0.05 * draw.standard_normal((1000, 32)))
    runs = [rank_neighbours(search, 5, ALL) for search in searches(vectors)]
    for found in runs:
        assert (found.numbers[pairs[:, 0], 0] == pairs[:, 1]).all()
        assert (found.numbers[pairs[:, 1], 0] == pairs[:, 0]).all()
        assert not (found.numbers == np.arange(5000)[:, None]).any()
        np.testing.assert_array_equal(found.numbers, runs[0].numbers)
        np.testing.assert_array_equal(found.similarities, runs[0].similarities)
    monkeypatch.setattr(search_module, "BLOCK_NUMBERS", 2**21)
    again = rank_neighbours(BlockedSearch(vectors, CPU), 5, ALL)
    np.testing.assert_array_equal(again.numbers, runs[0].numbers)


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_approximate_indexes_find_most_and_the_same_again(kind: Any) -> None:
    vectors = random_vectors(2000)
    first, again = (rank_neighbours(FaissSearch(vectors, kind), 3, ALL) for _ in range(2))
    np.testing.assert_array_equal(first.numbers, again.numbers)
    exact = rank_neighbours(BlockedSearch(vectors, CPU), 3, ALL)
    recall = (first.numbers[:, :1] == exact.numbers[:, :1]).mean()
    assert recall > (0.95 if kind == "hnsw" else 0.4)


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 40),
    width=st.integers(1, 4),
    k=st.integers(1, 6),
    seed=st.integers(0, 99),
    levels=st.integers(1, 3),
    block=st.integers(1, 200),
    band=st.sampled_from([ALL, (0.0, 0.99), (-0.5, 0.5)]),
)
def test_every_search_equals_sorting_whatever_ties(
    count: int, width: int, k: int, seed: int, levels: int, block: int, band: tuple[float, float]
) -> None:
    """Few levels a coordinate make many equal vectors and many equal similarities."""
    draw = np.random.default_rng(seed)
    values = draw.integers(-levels, levels + 1, (count, width)).astype(np.float64)
    values[(values == 0).all(axis=1)] = 1
    vectors = unit(values)
    expected = brute(vectors, k, band)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_module, "BLOCK_NUMBERS", block)
        for search in searches(vectors):
            np.testing.assert_array_equal(rank_neighbours(search, k, band).numbers, expected)


def test_equal_vectors_are_neighbours_in_the_order_of_their_numbers() -> None:
    vectors = np.ones((50, 3), np.float32) / np.float32(np.sqrt(3))
    for search in searches(vectors):
        found = rank_neighbours(search, 4, ALL)
        assert found.of(2) == [(0, 1.0), (1, 1.0), (3, 1.0), (4, 1.0)]
        assert found.of(49) == [(0, 1.0), (1, 1.0), (2, 1.0), (3, 1.0)]


def test_the_band_leaves_out_what_is_too_near_or_too_far_and_goes_on_below() -> None:
    angles = np.radians(np.arange(0, 180, 1))
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    low, high = float(np.cos(np.radians(63.5))), float(np.cos(np.radians(59.5)))
    for search in searches(vectors):
        found = rank_neighbours(search, 3, (low, high))
        assert [number for number, _ in found.of(0)] == [60, 61, 62]
        assert [number for number, _ in found.of(90)] == [30, 150, 29]
        assert all(low <= cosine <= high for _, cosine in found.of(90))
        assert rank_neighbours(search, 3, (0.9999, 1.0)).of(5) == []


def test_auto_takes_faiss_for_many(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = random_vectors(20)
    assert isinstance(open_search(vectors, "auto", CPU), BlockedSearch)
    monkeypatch.setattr(search_module, "BLOCKED_UP_TO", 10)
    assert isinstance(open_search(vectors, "auto", CPU), FaissSearch)
    assert isinstance(open_search(vectors, "blocked", CPU), BlockedSearch)
    with pytest.raises(ConfigError, match="did you mean 'flat'"):
        open_search(vectors, "flatt", CPU)  # type: ignore[arg-type]
