"""Where randomness is born: a generator is a pure function of a key, never of what ran before it."""

import os
import random
from hashlib import blake2b

import torch


def key_seed(*key: int | str) -> int:
    """A 63-bit seed from a key such as `(seed, epoch, row, "noise")`.

    The key is hashed, so that neighbouring keys give unrelated streams and no two keys collide in practice.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator seeded by `key`."""
    return torch.Generator(device=device).manual_seed(key_seed(*key))


def seed_global(*key: int | str) -> None:
    """Seed the global generators of `torch` (all devices) and `random` by `key`.

    For code that draws from the global generators, such as dropout: called before every step, nothing has to be saved
    for a resumed run to draw the same numbers.
    """
    seed = key_seed(*key)
    torch.manual_seed(seed)
    random.seed(seed)


def run_seed() -> int:
    """The run's seed: what `seed_everything` was given, 0 where it was never called."""
    return int(os.environ.get("PL_GLOBAL_SEED", "0"))
