"""Work done ahead by threads, and its progress on a terminal."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from lightning.pytorch.utilities import rank_zero_only

T = TypeVar("T")
THREADS = 4


def computed_ahead(calls: Iterable[Callable[[], T]], threads: int = THREADS) -> Iterator[T]:
    """The results of calls, in their order, while threads work on the next few."""
    pool = ThreadPoolExecutor(threads)
    waiting: deque[Future[T]] = deque()
    try:
        for call in calls:
            waiting.append(pool.submit(call))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # Not waited for: left unfinished, this may be cleared away by one of its own threads.
        pool.shutdown(wait=False, cancel_futures=True)


def cores(most: int = 16) -> int:
    """How many threads can compute at once, on what this process may use of the machine."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, most)


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[], None]]:
    """A bar on the terminal of the first rank.

    Yields:
        What to call when one of `total` is done.
    """
    if not sys.stderr.isatty() or rank_zero_only.rank or not total:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
