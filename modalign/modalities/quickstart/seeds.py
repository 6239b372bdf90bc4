"""Learning and aligning for every seed, several at once, and where the files of each stand."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch

from modalign.modalities.quickstart.method_options import MethodOptions
from modalign.modalities.quickstart.options import Tell
from modalign.modalities.quickstart.policies import START, Policy

PreferencesT = TypeVar("PreferencesT")
MeasuredT = TypeVar("MeasuredT")


@dataclass(frozen=True)
class SeedFolders:
    """Where the files of every seed are.

    Attributes:
        folder: Where everything is written.
    """

    folder: Path

    def seed_folder(self, seed: int) -> Path:
        """Where a seed's files are."""
        return self.folder / f"seed-{seed}"

    def start(self, seed: int) -> Path:
        """A seed's model before alignment."""
        return self.seed_folder(seed) / "start"

    def aligned(self, seed: int, policy: Policy) -> Path:
        """A seed's model after alignment."""
        return self.seed_folder(seed) / "aligned" / policy.folder


@dataclass(frozen=True)
class Learned(Generic[PreferencesT, MeasuredT]):
    """A start, and preferences between what it says or draws.

    Attributes:
        seed: Decides weights, order of the rows, samples and coins.
        preferences: Between its own samples.
        measured: The start's measurements.
    """

    seed: int
    preferences: PreferencesT
    measured: MeasuredT


@dataclass(frozen=True)
class Aligned(Generic[MeasuredT]):
    """A policy that was trained from a start.

    Attributes:
        seed: The start's.
        title: The policy's.
        measured: Its measurements.
    """

    seed: int
    title: str
    measured: MeasuredT


@dataclass(frozen=True)
class SeedResult(Generic[PreferencesT, MeasuredT]):
    """What one seed gave.

    Attributes:
        learned: The start and its preferences.
        measured: A policy's measurements, by its title.
    """

    learned: Learned[PreferencesT, MeasuredT]
    measured: dict[str, MeasuredT]


def run_seeds(
    learn: Callable[[int], Learned[PreferencesT, MeasuredT]],
    align: Callable[[Learned[PreferencesT, MeasuredT], Policy], Aligned[MeasuredT]],
    trained: Sequence[Policy],
    options: MethodOptions,
    about: Callable[[Learned[PreferencesT, MeasuredT] | Aligned[MeasuredT]], str],
    tell: Tell,
) -> list[SeedResult[PreferencesT, MeasuredT]]:
    """Learn and align for every seed, several at once, each in a process with one thread.

    The models are so small that more threads would wait for each other.

    Args:
        learn: Makes the start of a seed. Like `align` it is run in a process of its own: a function of a module, or a
            `partial` of one.
        align: Trains a policy from its seed's start, and measures it.
        trained: The policies.
        options: Which seeds, and how many processes.
        about: A line on what has come out.
        tell: Shows that line.
    """
    found: dict[int, SeedResult[PreferencesT, MeasuredT]] = {}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, spawn, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting: set[Future[Learned[PreferencesT, MeasuredT] | Aligned[MeasuredT]]]
        waiting = {pool.submit(learn, seed) for seed in options.seeds}
        while waiting:
            finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for result in (future.result() for future in finished):
                if isinstance(result, Learned):
                    found[result.seed] = SeedResult(result, {START: result.measured})
                    waiting |= {pool.submit(align, result, policy) for policy in trained}
                else:
                    found[result.seed].measured[result.title] = result.measured
                tell(about(result))
    return [found[seed] for seed in options.seeds]
