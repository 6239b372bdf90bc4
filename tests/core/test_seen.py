"""Which rows a run sees is what its ranks' batches hold, counted out one by one."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalign.core.errors import ConfigError
from modalign.core.order import BatchOrder
from modalign.core.run_length import ENDLESS, RunLength
from modalign.core.seen import drawn_epochs, drawn_rows, seen_rows

lengths = st.builds(
    RunLength,
    max_steps=st.integers(0, 12),
    max_epochs=st.none() | st.integers(0, 4),
    limit_train_batches=st.none() | st.integers(1, 9) | st.just(1.0),
    accumulate=st.integers(1, 3),
)


def counted_out(orders: list[BatchOrder], length: RunLength) -> list[tuple[int, int]]:
    """(epoch, row) of every batch that any rank trains on, one optimiser step after another."""
    seen: set[tuple[int, int]] = set()
    steps = epoch = 0
    while steps < length.max_steps and (length.max_epochs is None or epoch < length.max_epochs):
        limit = length.limit_train_batches
        batches = [list(islice(order.batches(epoch), limit if isinstance(limit, int) else None)) for order in orders]
        for start in range(0, len(batches[0]), length.accumulate):
            if steps < length.max_steps:
                window = [batch for of_rank in batches for batch in of_rank[start : start + length.accumulate]]
                seen |= {(epoch, pick.index) for batch in window for pick in batch}
                steps += 1
        epoch += 1
    return sorted(seen)


@given(
    rows=st.integers(1, 30),
    batch_size=st.integers(1, 4),
    world=st.integers(1, 3),
    shuffle=st.booleans(),
    length=lengths,
    cycle=st.none() | st.integers(1, 3),
)
def test_nothing_is_missing_and_nothing_too_much(
    rows: int, batch_size: int, world: int, shuffle: bool, length: RunLength, cycle: int | None
) -> None:
    orders = [BatchOrder(rows, batch_size, shuffle, 3, rank, world) for rank in range(world)]
    expected = counted_out(orders, length)
    assert seen_rows(orders[0], length) == sorted({row for _, row in expected})
    drawn = list(drawn_rows(orders[-1], length, cycle))
    assert [(epoch, row) for epoch, of_epoch in drawn for row in of_epoch] == sorted(
        {(epoch % cycle if cycle else epoch, row) for epoch, row in expected}
    )
    assert len(drawn) == drawn_epochs(orders[0], length, cycle)


def test_a_run_without_end_sees_everything() -> None:
    order = BatchOrder(5, 2)
    assert seen_rows(order, ENDLESS) == [0, 1, 2, 3, 4]
    assert [epoch for epoch, _ in drawn_rows(order, ENDLESS, 3)] == [0, 1, 2]
    with pytest.raises(ConfigError, match="how many epochs"):
        list(drawn_rows(order, ENDLESS, None))


@given(only=st.lists(st.integers(0, 99), unique=True, min_size=1), batch_size=st.integers(1, 4), shuffle=st.booleans())
def test_an_order_of_some_rows_hands_out_their_numbers(only: list[int], batch_size: int, shuffle: bool) -> None:
    order = BatchOrder(len(only), batch_size, shuffle, 3, only=only)
    assert sorted(pick.index for batch in order.batches(1) for pick in batch) == sorted(only)
