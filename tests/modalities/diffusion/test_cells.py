"""What is drawn for a row depends on its key alone, and holds for all its cells."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modalign.core.batch import Candidate, Comparison, Example
from modalign.modalities.diffusion.cells import DiffusionCell, RowChoices, drawn_cells

rows = st.lists(st.integers(0, 10**9), min_size=1, max_size=8, unique=True)


def example(row: int, cells: int = 2) -> Example:
    comparison = Comparison("p", tuple(Candidate(None) for _ in range(cells)))
    return Example(comparison, tuple(DiffusionCell(f"{row}-{n}", "p") for n in range(cells)), (1,) * cells)


def drawn(numbers: list[int], epoch: int = 0, cells: int = 2) -> list[Example]:
    return drawn_cells(
        [example(row, cells) for row in numbers],
        numbers,
        lambda row: RowChoices.of(row, epoch, True, 0.5),
        lambda cell, choices: replace(cell, flipped=choices.flipped, numbers=choices.place),
    )


@given(rows, st.integers(0, 5), st.data())
def test_neither_order_nor_split_matters(numbers: list[int], epoch: int, data: st.DataObject) -> None:
    together = {row: each.cells for row, each in zip(numbers, drawn(numbers, epoch), strict=True)}
    shuffled = data.draw(st.permutations(numbers))
    cut = data.draw(st.integers(0, len(numbers)))
    for part in (shuffled[:cut], shuffled[cut:]):
        for row, each in zip(part, drawn(part, epoch), strict=True):
            assert each.cells == together[row]


@given(rows, st.integers(1, 5))
def test_the_members_of_a_row_share_every_choice(numbers: list[int], cells: int) -> None:
    for each in drawn(numbers, cells=cells):
        assert len({(cell.flipped, cell.prompt, cell.numbers) for cell in each.cells}) == 1


def test_the_shares_are_those_asked_for_and_the_draws_unrelated() -> None:
    choices = [RowChoices.of(row, 0, True, 0.3) for row in range(4000)]
    share = lambda picked: sum(picked) / len(choices)  # noqa: E731
    assert share(c.flipped for c in choices) == pytest.approx(0.5, abs=0.03)
    assert share(c.dropped for c in choices) == pytest.approx(0.3, abs=0.03)
    assert share(c.flipped and c.dropped for c in choices) == pytest.approx(0.15, abs=0.03)
    assert share(c.place[0] < 0.25 for c in choices) == pytest.approx(0.25, abs=0.03)
    assert share(c.place[0] < 0.5 and c.place[1] < 0.5 for c in choices) == pytest.approx(0.25, abs=0.03)


def test_another_epoch_or_seed_draws_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "6")
    draw = lambda epoch: [RowChoices.of(row, epoch, True, 0.5) for row in range(64)]  # noqa: E731
    first = draw(0)
    assert first == draw(0)
    assert first != draw(1)
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    assert first != draw(0)


@settings(max_examples=30)
@given(st.integers(0, 1000))
def test_one_option_does_not_move_the_draws_of_another(row: int) -> None:
    both, alone = RowChoices.of(row, 0, True, 0.5), RowChoices.of(row, 0, True, 0.0)
    assert (both.flipped, both.place) == (alone.flipped, alone.place)
    still = RowChoices.of(row, 0, False, 0.5)
    assert not still.flipped
    assert still.dropped == both.dropped
    assert not alone.dropped


def test_what_is_hashed_of_a_cell_does_not_depend_on_the_cache() -> None:
    cached = DiffusionCell("k", "p")
    assert cached.content_key() == replace(cached, numbers=(3.0, 4.0)).content_key()
    assert cached.content_key() != replace(cached, prompt="q").content_key()
