"""What the caches of latents, prompts and references save a training run: the part that all media share.

Every run is a process of its own, so that its peak of memory is its own; they are forked from one that has imported
everything, and take turns. The caches are filled before anything is timed, for which `modalign cache` and the start of
a run are there. A step is everything between two batches: reading, decoding, encoding where nothing is cached, policy,
reference, backward pass and AdamW.

CPU time counts all threads, and bears other programs on the machine better than the clock does. Memory is what a run
adds to a process that has imported everything: resident on the CPU, allocated on a GPU.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from lightning.pytorch import Callback, Trainer, seed_everything

from modalign import Modality, PreferenceDataModule, PreferenceModule
from modalign.core.format import Format
from modalign.core.objectives.mapo import MaPo
from modalign.core.objectives.pairwise import Dpo
from modalign.core.reference import AdapterReference, CachedReference, FrozenReference
from modalign.modalities.lora import Lora

WARM_UP = 2
IMPORTS = ("lightning.pytorch", "transformers", "diffusers.pipelines.pipeline_utils", "peft", "modalign.core.reference")
"""What takes long to import, and is there before a run's process begins."""


@dataclass(frozen=True)
class Run:
    """One way to train.

    Attributes:
        trains: `full` or `lora`.
        reference: `frozen`, `adapter`, `cached` or `none`, which is MaPO.
        cache: Of latents and prompts: `off` or `disk`.
    """

    trains: str
    reference: str
    cache: str


RUNS = (
    Run("full", "frozen", "off"),
    Run("full", "frozen", "disk"),
    Run("full", "cached", "disk"),
    Run("full", "none", "disk"),
    Run("lora", "adapter", "off"),
    Run("lora", "adapter", "disk"),
    Run("lora", "cached", "disk"),
)


@dataclass(frozen=True)
class Measured:
    """Of one run: median seconds of a step, and bytes."""

    cpu: float
    clock: float
    memory: int


@dataclass(frozen=True)
class Medium:
    """What is trained on; its functions are of a module, so that other processes find them.

    Attributes:
        media: What a table calls the media.
        write_model: Writes a small pipeline to a folder.
        write_pairs: Writes so many rows of pairs to `pairs.jsonl` in a folder.
        modality: From the folder, the options and the modality's further arguments.
        format: Reads the rows.
    """

    media: str
    write_model: Callable[[Path, argparse.Namespace], None]
    write_pairs: Callable[[Path, int], None]
    modality: Callable[..., Modality]
    format: Callable[[], Format]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that every medium has."""
    parser.add_argument("--rows", type=int, default=2, help="pairs a batch")
    parser.add_argument("--steps", type=int, default=4, help="timed steps a run")
    parser.add_argument("--repeats", type=int, default=1, help="how often each run is made")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--accelerator", choices=("cpu", "cuda"), default="cpu")


def measure(medium: Medium, options: argparse.Namespace) -> None:
    """Make every run, and print what it took."""
    with tempfile.TemporaryDirectory() as folder:
        medium.write_model(Path(folder) / "model", options)
        medium.write_pairs(Path(folder), options.rows * (options.steps + WARM_UP + 1))
        for run in RUNS:
            if run.reference == "cached":
                _alone(medium, run, Path(folder), options)  # fills the caches, and warms the files up
        measured: dict[Run, list[Measured]] = {run: [] for run in RUNS}
        for repeat in range(options.repeats):
            for run in RUNS:
                print(f"repeat {repeat + 1} of {options.repeats}: {run}", file=sys.stderr, flush=True)
                measured[run].append(_alone(medium, run, Path(folder), options))
    _print_table(measured, 2 * options.rows, medium.media)


def _alone(medium: Medium, run: Run, folder: Path, options: argparse.Namespace) -> Measured:
    """A run in a process of its own."""
    context = get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTS))
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_trained, medium, run, folder, options).result()


def _trained(medium: Medium, run: Run, folder: Path, options: argparse.Namespace) -> Measured:
    torch.set_num_threads(options.threads)
    seed_everything(0, verbose=False)
    caches = {"cache": run.cache, "cache_folder": str(folder / "cache") if run.cache == "disk" else None}
    lora = Lora(r=8) if run.trains == "lora" else None
    modality = medium.modality(folder / "model", options, draw_cycle=1, lora=lora, **caches)
    reference = {
        "frozen": FrozenReference,
        "adapter": AdapterReference,
        "cached": lambda: CachedReference(str(folder / f"{run.trains}.sqlite")),
        "none": lambda: None,
    }[run.reference]()
    objective = MaPo() if run.reference == "none" else Dpo(beta=500.0)
    module = PreferenceModule(modality, objective, reference, optimizer=lambda p: torch.optim.AdamW(p, lr=1e-5))
    data = PreferenceDataModule(medium.format(), train=str(folder / "pairs.jsonl"), batch_size=options.rows)
    watch = Watch(_resident() if options.accelerator == "cpu" else 0)
    Trainer(
        accelerator=options.accelerator,
        devices=1,
        max_epochs=1,
        callbacks=[watch],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder / "run",
    ).fit(module, data)
    return watch.measured()


class Watch(Callback):
    """Times steps from the end of one to the end of the next, and looks at memory after each backward pass."""

    def __init__(self, before: int) -> None:
        self.before = before
        self.peak = 0
        self.times: list[tuple[float, float]] = []

    def on_after_backward(self, trainer: Trainer, *args: Any) -> None:
        on_gpu = trainer.strategy.root_device.type == "cuda"
        self.peak = max(self.peak, torch.cuda.max_memory_allocated() if on_gpu else _resident())

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize()
        self.times.append((time.process_time(), time.perf_counter()))

    def measured(self) -> Measured:
        steps = [
            (one[0] - other[0], one[1] - other[1])
            for other, one in zip(self.times[WARM_UP:], self.times[WARM_UP + 1 :], strict=False)
        ]
        cpu, clock = (statistics.median(step[kind] for step in steps) for kind in (0, 1))
        return Measured(cpu, clock, self.peak - self.before)


def _resident() -> int:
    """Bytes that this process holds in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _print_table(measured: dict[Run, list[Measured]], count: int, media: str) -> None:
    """Medians over repeats; ratios are taken within a repeat, to the first run of the same kind of training."""
    print(f"| trains | reference | latents and prompts | {media}/s | CPU ms a step | CPU time, ratio | memory MB |")
    print("|---|---|---|---|---|---|---|")
    for run, runs in measured.items():
        first = next(other for other in measured if other.trains == run.trains)
        ratio = statistics.median(one.cpu / base.cpu for one, base in zip(runs, measured[first], strict=True))
        clock, cpu, memory = (statistics.median(getattr(m, name) for m in runs) for name in ("clock", "cpu", "memory"))
        cells = (run.trains, run.reference, run.cache, f"{count / clock:.1f}", f"{1000 * cpu:.0f}", f"{ratio:.2f}")
        print(f"| {' | '.join(cells)} | {memory / 1e6:.0f} |")
