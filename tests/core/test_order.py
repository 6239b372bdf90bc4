"""Every row once an epoch, whatever the number of ranks; any batch can be made again."""

from hypothesis import given
from hypothesis import strategies as st

from modalign.core.order import BatchOrder

sizes = st.integers(1, 60)


@given(
    rows=sizes, batch_size=st.integers(1, 7), world=st.integers(1, 5), epoch=st.integers(0, 3), shuffle=st.booleans()
)
def test_ranks_share_the_rows(rows: int, batch_size: int, world: int, epoch: int, shuffle: bool) -> None:
    orders = [BatchOrder(rows, batch_size, shuffle, 3, rank, world) for rank in range(world)]
    batches = [list(order.batches(epoch)) for order in orders]
    assert len({len(of_rank) for of_rank in batches}) == 1
    assert len(batches[0]) == len(orders[0])
    real = [pick.index for of_rank in batches for batch in of_rank for pick in batch if not pick.filler]
    assert sorted(real) == list(range(rows))
    assert all(batch for of_rank in batches for batch in of_rank)


@given(rows=sizes, batch_size=st.integers(1, 7), world=st.integers(1, 4), epoch=st.integers(0, 3))
def test_global_batches_do_not_depend_on_ranks(rows: int, batch_size: int, world: int, epoch: int) -> None:
    alone = BatchOrder(rows, batch_size * world, True, 3)
    ranks = [list(BatchOrder(rows, batch_size, True, 3, rank, world).batches(epoch)) for rank in range(world)]
    for number, whole in enumerate(alone.batches(epoch)):
        parts = [pick.index for rank in ranks for pick in rank[number] if not pick.filler]
        assert sorted(parts) == sorted(pick.index for pick in whole)


@given(rows=sizes, batch_size=st.integers(1, 7), start=st.integers(0, 20))
def test_a_late_start_is_the_rest(rows: int, batch_size: int, start: int) -> None:
    order = BatchOrder(rows, batch_size, True, 3)
    assert list(order.batches(1, start)) == list(order.batches(1))[start:]


def test_epochs_and_seeds_differ() -> None:
    assert list(BatchOrder(50, 5, True, 3).batches(0)) != list(BatchOrder(50, 5, True, 3).batches(1))
    assert list(BatchOrder(50, 5, True, 3).batches(0)) != list(BatchOrder(50, 5, True, 4).batches(0))
    assert list(BatchOrder(50, 5, False, 3).batches(0)) == list(BatchOrder(50, 5, False, 4).batches(7))
