"""The control that every gain has to survive: the same pairs, with labels that say nothing."""

import random
from collections.abc import Sequence

from modalign.core.keys import key_seed


def toss_coins(rows: Sequence[dict[str, str]], seed: int) -> list[dict[str, str]]:
    """The same pairs, which of the two is chosen decided by a fair coin."""
    coin = random.Random(key_seed(seed, "coin"))
    swapped = {"chosen": "rejected", "rejected": "chosen"}
    return [{k: row[swapped.get(k, k)] for k in row} if coin.random() < 0.5 else dict(row) for row in rows]
