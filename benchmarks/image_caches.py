"""What the caches of latents, prompts and references save a training run of images: time and memory.

    python benchmarks/image_caches.py

Makes a small pipeline of Stable Diffusion's classes with random weights, and pairs of pictures, and trains on them with
the real trainer: DPO in full and through LoRA, and MaPO, which has no reference. Every run is a process of its own, so
that its peak of memory is its own; the runs take turns. The caches are filled before anything is timed, for which
`modalign cache` and the start of a run are there. A step is everything between two batches: reading, decoding,
encoding where nothing is cached, policy, reference, backward pass and AdamW.

CPU time counts all threads, and bears other programs on the machine better than the clock does. Memory is what a run
adds to a process that has imported everything: resident on the CPU, allocated on a GPU.
"""

import argparse
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from lightning.pytorch import Callback, Trainer, seed_everything

from modalign import PreferenceDataModule, PreferenceModule
from modalign.core.objectives.mapo import MaPo
from modalign.core.objectives.pairwise import Dpo
from modalign.core.reference import AdapterReference, CachedReference, FrozenReference
from modalign.modalities.image.formats.image_pairs import ImagePairs
from modalign.modalities.image.modality import Image
from modalign.modalities.lora import Lora

WARM_UP = 2


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


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        _write_pipeline(Path(folder) / "model", options)
        _write_pairs(Path(folder), options)
        for run in RUNS:
            _alone(run, Path(folder), options)  # fills the caches, and warms the files up
        measured: dict[Run, list[Measured]] = {run: [] for run in RUNS}
        for _ in range(options.repeats):
            for run in RUNS:
                measured[run].append(_alone(run, Path(folder), options))
    _print_table(measured, 2 * options.rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=4, help="pairs a batch")
    parser.add_argument("--steps", type=int, default=8, help="timed steps a run")
    parser.add_argument("--repeats", type=int, default=3, help="how often each run is made")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resolution", type=int, default=128, help="height and width of the pictures")
    parser.add_argument("--unet", type=int, default=96, help="channels of the UNet's first level")
    parser.add_argument("--vae", type=int, default=16, help="channels of the VAE's first level")
    parser.add_argument("--accelerator", choices=("cpu", "cuda"), default="cpu")
    return parser.parse_args()


def _alone(run: Run, folder: Path, options: argparse.Namespace) -> Measured:
    """A run in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_trained, run, folder, options).result()


def _trained(run: Run, folder: Path, options: argparse.Namespace) -> Measured:
    torch.set_num_threads(options.threads)
    seed_everything(0, verbose=False)
    caches = {"cache": run.cache, "cache_folder": str(folder / "cache") if run.cache == "disk" else None}
    lora = Lora(r=8) if run.trains == "lora" else None
    modality = Image(str(folder / "model"), resolution=options.resolution, draw_cycle=1, lora=lora, **caches)
    reference = {
        "frozen": FrozenReference,
        "adapter": AdapterReference,
        "cached": lambda: CachedReference(str(folder / f"{run.trains}.sqlite")),
        "none": lambda: None,
    }[run.reference]()
    objective = MaPo() if run.reference == "none" else Dpo(beta=500.0)
    module = PreferenceModule(modality, objective, reference, optimizer=lambda p: torch.optim.AdamW(p, lr=1e-5))
    data = PreferenceDataModule(ImagePairs(), train=str(folder / "pairs.jsonl"), batch_size=options.rows)
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


def _write_pairs(folder: Path, options: argparse.Namespace) -> None:
    import json

    import numpy as np
    from PIL import Image as Picture

    draw = np.random.default_rng(0)
    lines = []
    for row in range(options.rows * (options.steps + WARM_UP + 1)):
        line = {"prompt": f"a photo of {row} cats"}
        for role in ("chosen", "rejected"):
            line[role] = f"{row}-{role}.jpg"
            small = Picture.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            small.resize((512, 512), Picture.Resampling.BICUBIC).save(folder / line[role], quality=90)
        lines.append(json.dumps(line) + "\n")
    (folder / "pairs.jsonl").write_text("".join(lines))


def _write_pipeline(folder: Path, options: argparse.Namespace) -> None:
    """Stable Diffusion's classes and proportions, smaller: a VAE of factor 8, a UNet of two levels, CLIP."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from tokenizers import pre_tokenizers
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    tokenizer = CLIPTokenizer(vocab={name: n for n, name in enumerate(names)}, merges=[], model_max_length=77)
    text = CLIPTextConfig(
        vocab_size=len(names), hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4
    )
    unet = UNet2DConditionModel(
        sample_size=options.resolution // 8,
        block_out_channels=(options.unet, 2 * options.unet),
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=8,
        cross_attention_dim=128,
    )
    levels = (options.vae, 2 * options.vae, 4 * options.vae, 4 * options.vae)
    vae = AutoencoderKL(
        block_out_channels=levels,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        layers_per_block=2,
        norm_num_groups=8,
        sample_size=options.resolution,
    )
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text).eval(),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


def _print_table(measured: dict[Run, list[Measured]], images: int) -> None:
    """Medians over repeats; ratios are taken within a repeat, to the first run of the same kind of training."""
    print("| trains | reference | latents and prompts | images/s | CPU ms a step | CPU time, ratio | memory MB |")
    print("|---|---|---|---|---|---|---|")
    for run, runs in measured.items():
        first = next(other for other in measured if other.trains == run.trains)
        ratio = statistics.median(one.cpu / base.cpu for one, base in zip(runs, measured[first], strict=True))
        clock, cpu, memory = (statistics.median(getattr(m, name) for m in runs) for name in ("clock", "cpu", "memory"))
        cells = (run.trains, run.reference, run.cache, f"{images / clock:.1f}", f"{1000 * cpu:.0f}", f"{ratio:.2f}")
        print(f"| {' | '.join(cells)} | {memory / 1e6:.0f} |")


if __name__ == "__main__":
    main()
