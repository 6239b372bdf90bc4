"""Keys are pure, and unlike for unlike keys."""

import random

import torch

from modalign.core.keys import generator, key_seed, seed_global


def test_pure_and_distinct() -> None:
    assert key_seed(1, 2, 3, "noise") == key_seed(1, 2, 3, "noise")
    seeds = {key_seed(seed, epoch, row) for seed in range(4) for epoch in range(10) for row in range(500)}
    assert len(seeds) == 4 * 10 * 500
    assert key_seed(1, 23) != key_seed(12, 3)
    assert key_seed(1, "2") != key_seed(1, 2)


def test_generators_start_alike() -> None:
    first, second = (torch.rand(5, generator=generator(1, "x")) for _ in range(2))
    assert torch.equal(first, second)


def test_global_generators() -> None:
    drawn = []
    for _ in range(2):
        seed_global(7, "train", 0, 3)
        drawn.append((torch.rand(3).tolist(), random.random()))
    assert drawn[0] == drawn[1]
