"""Work done ahead by threads."""

from collections.abc import Iterator
from threading import Event

import pytest

from modalign.core.ahead import computed_ahead


def test_results_come_in_order() -> None:
    assert list(computed_ahead([lambda n=n: n * n for n in range(50)], threads=3)) == [n * n for n in range(50)]


def test_an_error_comes_at_its_place() -> None:
    found = computed_ahead([lambda: 1, lambda: 1 // 0, lambda: 3], threads=1)
    assert next(found) == 1
    with pytest.raises(ZeroDivisionError):
        next(found)


def test_one_of_its_own_threads_may_clear_it_away() -> None:
    """As the garbage collector does with one that an error has left unfinished."""
    errors, closed, begun = list[BaseException](), Event(), Event()
    left: list[Iterator[int]] = []

    def clear() -> int:
        begun.wait(10)
        try:
            left.pop().close()  # type: ignore[attr-defined]
        except BaseException as error:
            errors.append(error)
        closed.set()
        return 0

    left.append(computed_ahead([lambda: 0, clear, *[lambda: 0] * 5], threads=2))
    assert next(left[0]) == 0
    begun.set()
    assert closed.wait(10)
    assert errors == []
