"""How large the demonstration is, and which policies it compares."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from modalign.modalities.quickstart.stages import Stage

TITLES = {"crpo": "CRPO", "dpo": "Diffusion-DPO", "mapo": "MaPO", "kto": "Diffusion-KTO"}

PAIRS: Mapping[str, Any] = {"class_path": "audio_pairs", "init_args": {}}

LEARN = Stage("sft", 5e-3, {"max_steps": 420}, 24, {"class_path": "audio_captions", "init_args": {}})
# A step on the chosen alone costs less than one on pairs: as much computation, not as many steps.
IMITATE = Stage("sft", 3e-3, {"max_steps": 140}, 16, PAIRS)
PREFER = replace(IMITATE, learning_rate=1.5e-3, length={"max_steps": 120})
CRPO: Mapping[str, Any] = {
    "objectives": {
        "dpo": {"class_path": "dpo", "init_args": {"beta": 10.0}},
        "sft": {"class_path": "sft", "init_args": {}},
    },
    "weights": {"dpo": 1.0, "sft": 1.0},
}


def modality_options(model: Path, seed_folder: Path) -> dict[str, Any]:
    """Options of the modality: all stages of a seed share its cache."""
    cache = {"cache": "disk", "cache_folder": str(seed_folder / "cache")}
    # So small a model learns less from the logit-normal times of large ones, which look seldom at near silence.
    return {"model": str(model), "timesteps": {"distribution": "uniform"}, **cache}


def _alignments() -> dict[str, Stage]:
    # Betas are per mean squared error, here of 256 numbers: they are smaller than for larger latents, whose means vary
    # less. Without the chosen's own loss beside it, DPO at CRPO's beta leaves nothing that could be heard. KTO has that
    # in itself: at a small beta its pull on a rejected sound fades as that grows unlikely, and the one on the chosen
    # stays. At 50 both fade, and the sounds of three seeds of four were ruined.
    return {
        "crpo": replace(PREFER, objective="sum", options=CRPO),
        "dpo": replace(PREFER, objective="dpo", learning_rate=1.25e-3, options={"beta": 50.0}),
        "mapo": replace(PREFER, objective="mapo"),
        "kto": replace(PREFER, objective="kto", options={"beta": 5.0, "reference_point": "batch"}),
    }


@dataclass(frozen=True)
class Plan:
    """Sizes of everything.

    Attributes:
        heads: Of the transformer's attention.
        learn: The stage that makes the start.
        imitate: SFT on the chosen sounds.
        align: The stage of each method, also with labels drawn by coin.
        captioned: Sounds that the start is learned from.
        right: How often the events of those with two are in their caption's order.
        pairs: To train on.
        held_out: Pairs to measure implicit accuracy and drift by.
        sounds: Sounds a caption by which a policy is measured.
        steps: Denoising steps of a sound.
        error_draws: Times and noises over which a held-out sound's denoising error is averaged.
    """

    heads: int = 2
    learn: Stage = LEARN
    imitate: Stage = IMITATE
    align: Mapping[str, Stage] = field(default_factory=_alignments)
    captioned: int = 616
    right: float = 0.6
    pairs: int = 288
    held_out: int = 60
    sounds: int = 8
    steps: int = 12
    error_draws: int = 2

    @property
    def sampling(self) -> dict[str, Any]:
        """Options of the modality's `sample`."""
        return {"steps": self.steps, "guidance_scale": 1.0, "batch_size": 96}


def smoke_plan() -> Plan:
    """Everything once in seconds: shows that it runs, not that it works."""
    plan = Plan()
    return replace(
        plan,
        heads=1,
        learn=replace(plan.learn, length={"max_steps": 2}, batch_size=4),
        imitate=replace(plan.imitate, length={"max_steps": 2}, batch_size=4),
        align={name: replace(stage, length={"max_steps": 2}, batch_size=4) for name, stage in plan.align.items()},
        captioned=28,
        pairs=12,
        held_out=4,
        sounds=3,
        steps=2,
        error_draws=1,
    )
