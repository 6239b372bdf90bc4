"""Draws are a pure function of seed, epoch, row and draw; what else is in the batch plays no part."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import seed_everything
from torch import Tensor

from modalign.core.batch import PreferenceBatch
from modalign.core.errors import ConfigError
from modalign.modalities.diffusion.draws import RowDraws
from modalign.modalities.diffusion.timesteps import Timesteps
from tests.modalities.diffusion.toy import batch_of

UNIFORM = Timesteps()
SHAPE = (3, 4)
Drawn = dict[tuple[int, int], tuple[float, Tensor, Tensor]]


@pytest.fixture(autouse=True)
def _seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "5")


def ranked(lengths: Sequence[int], index: Sequence[int], epoch: int = 0) -> PreferenceBatch:
    """Rows of so many candidates each, padded to the longest."""
    longest = max(lengths)
    mask = [[column < length for column in range(longest)] for length in lengths]
    return batch_of(["candidate"] * longest, mask, index, epoch)


def drawn(batch: PreferenceBatch, draw: int = 0, cycle: int | None = None) -> Drawn:
    """By row number and the cell's number in its row: position, noise and the posterior's noise."""
    keys = RowDraws.of(batch, cycle)
    positions, noise = keys.positions(UNIFORM, 1000, draw), keys.noise(SHAPE, draw)
    posterior = keys.noise(SHAPE, draw, "posterior")
    seen: dict[int, int] = {}
    result: Drawn = {}
    for n, (row, _) in enumerate(batch.mask.nonzero().tolist()):
        number = int(batch.index[row])
        result[number, seen.get(number, 0)] = (positions[n].item(), noise[n], posterior[n])
        seen[number] = seen.get(number, 0) + 1
    return result


def assert_same(left: Drawn, right: Drawn) -> None:
    for cell in left:
        assert left[cell][0] == right[cell][0]
        assert torch.equal(left[cell][1], right[cell][1])
        assert torch.equal(left[cell][2], right[cell][2])


rows = st.dictionaries(st.integers(0, 10**6), st.integers(1, 5), min_size=1, max_size=5)


@given(rows, st.randoms(use_true_random=False), st.integers(0, 3), st.data())
@settings(max_examples=30, deadline=None)
def test_order_split_and_padding_change_nothing(lengths: dict[int, int], random, epoch: int, data) -> None:
    index = list(lengths)
    whole = drawn(ranked([lengths[row] for row in index], index, epoch))
    random.shuffle(index)
    cut = data.draw(st.integers(0, len(index)))
    for part in (index[:cut], index[cut:]):
        if part:
            got = drawn(ranked([lengths[row] for row in part], part, epoch))
            assert_same(got, whole)


@given(st.integers(0, 1000), st.integers(2, 5))
@settings(max_examples=20, deadline=None)
def test_a_list_shares_time_and_not_noise(row: int, length: int) -> None:
    cells = list(drawn(ranked([length], [row])).values())
    assert len({position for position, _, _ in cells}) == 1
    assert len({tuple(noise.flatten().tolist()) for _, noise, _ in cells}) == length
    assert not any(torch.equal(noise, posterior) for _, noise, posterior in cells)


@given(st.integers(0, 1000), st.permutations(["chosen", "rejected", "mismatched"]))
@settings(max_examples=20, deadline=None)
def test_a_pair_shares_all(row: int, roles: list[str]) -> None:
    first, second, third = drawn(batch_of(roles, [[True] * 3], [row])).values()
    assert first[0] == second[0] == third[0]
    assert torch.equal(first[1], second[1])
    assert torch.equal(first[1], third[1])
    alone = drawn(batch_of(["chosen"], [[True]], [row]))[row, 0]
    assert torch.equal(alone[1], first[1]), "sft on the chosen alone sees the same noise"


def test_a_mixed_batch_of_pairs_and_lists() -> None:
    roles = ["chosen", "rejected", "candidate", "candidate"]
    mixed = drawn(batch_of(roles, [[True, True, False, False], [False, False, True, True]], [4, 9]))
    assert_same(drawn(batch_of(roles[:2], [[True, True]], [4])), mixed)
    assert_same(drawn(ranked([2], [9])), mixed)


@given(st.integers(0, 30), st.integers(1, 5), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_epochs_repeat_after_the_cycle_only(epoch: int, cycle: int, later: int) -> None:
    now = drawn(ranked([2], [3], epoch), cycle=cycle)
    assert_same(drawn(ranked([2], [3], epoch % cycle + later * cycle), cycle=cycle), now)
    other = drawn(ranked([2], [3], epoch + 1), cycle=cycle)
    assert (other[3, 0][0] == now[3, 0][0]) == (cycle == 1)


def test_rows_epochs_draws_and_seeds_differ() -> None:
    start = drawn(ranked([1], [3]))[3, 0]
    others = [
        drawn(ranked([1], [4]))[4, 0],
        drawn(ranked([1], [3], epoch=1))[3, 0],
        drawn(ranked([1], [3]), draw=1)[3, 0],
    ]
    seed_everything(6, verbose=False)
    others.append(drawn(ranked([1], [3]))[3, 0])
    for other in others:
        assert other[0] != start[0]
        assert not torch.equal(other[1], start[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_default_dtype_plays_no_part(dtype: torch.dtype) -> None:
    """Lightning changes it to the run's precision."""
    before = drawn(ranked([2], [3]))
    torch.set_default_dtype(dtype)
    try:
        after = drawn(ranked([2], [3]))
    finally:
        torch.set_default_dtype(torch.float32)
    assert_same(before, after)
    assert after[3, 0][1].dtype == torch.float32


def test_some_of_the_cells() -> None:
    keys = RowDraws.of(ranked([2, 3], [3, 8]))
    some = keys.only([4, 1])
    assert torch.equal(some.noise(SHAPE, 0), keys.noise(SHAPE, 0)[[4, 1]])
    assert torch.equal(some.positions(UNIFORM, 1000, 0), keys.positions(UNIFORM, 1000, 0)[[4, 1]])


def positions(timesteps: Timesteps, count: int = 1000, rows: int = 4000) -> Tensor:
    return RowDraws.of(ranked([1] * rows, range(rows))).positions(timesteps, count, 0)


def test_uniform() -> None:
    drawn = positions(UNIFORM)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.02)
    assert drawn.var().item() == pytest.approx(1 / 12, abs=0.004)
    part = positions(Timesteps(low=0.2, high=0.3))
    assert part.min() >= 0.2
    assert part.max() < 0.3
    assert part.mean().item() == pytest.approx(0.25, abs=0.003)


def test_logit_normal() -> None:
    normal = torch.logit(positions(Timesteps("logit_normal", mean=0.7, std=0.5)))
    assert normal.mean().item() == pytest.approx(0.7, abs=0.03)
    assert normal.std().item() == pytest.approx(0.5, abs=0.03)


def test_fixed_time_steps_come_back_exactly() -> None:
    turbo = [249, 499, 749, 999]
    drawn = (positions(Timesteps("fixed", values=turbo)) * 1000).long()
    counts = [(drawn == step).sum().item() for step in turbo]
    assert sum(counts) == 4000
    assert min(counts) > 850
    for count in (1, 7, 999, 1000, 4096):
        for step in {0, count // 3, count - 1}:
            position = Timesteps("fixed", values=[step]).position(torch.Generator(), count)
            assert int(position * count) == step


def test_time_steps_the_model_does_not_have() -> None:
    with pytest.raises(ConfigError, match="1000, -1, and the model was trained with 1000"):
        positions(Timesteps("fixed", values=[0, 1000, -1]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"distribution": "uniformly"}, "uniform"),
        ({"distribution": "fixed"}, "without values"),
        ({"distribution": "fixed", "values": []}, "without values"),
        ({"values": [3]}, "belongs to the distribution fixed"),
        ({"mean": 1.0}, "belongs to the distribution logit_normal"),
        ({"distribution": "logit_normal", "low": 0.5}, "belongs to the distribution uniform"),
        ({"distribution": "logit_normal", "std": 0.0}, "std 0.0"),
        ({"distribution": "logit_normal", "mean": float("nan")}, "mean is nan"),
        ({"low": 0.5, "high": 0.5}, "low is 0.5"),
        ({"low": -0.1}, "low is -0.1"),
        ({"high": 1.5}, "high 1.5"),
    ],
)
def test_refused(options: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Timesteps(**options)
