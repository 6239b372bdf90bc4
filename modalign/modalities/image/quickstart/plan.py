"""How large the demonstration is, and which policies it compares."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from modalign.modalities.quickstart.stages import Stage

TITLES = {"dpo": "Diffusion-DPO", "mapo": "MaPO", "kto": "Diffusion-KTO", "rankdpo": "RankDPO"}
LISTWISE = ("rankdpo",)

PAIRS: Mapping[str, Any] = {"class_path": "image_pairs", "init_args": {}}
LISTS: Mapping[str, Any] = {"class_path": "image_ranked", "init_args": {"pairs": "none"}}

LEARN = Stage("sft", 4e-3, {"max_steps": 300}, 48, {"class_path": "image_captions", "init_args": {}})
IMITATE = Stage("sft", 5e-5, {"max_steps": 100}, 16, PAIRS)


def modality_options(model: Path, seed_folder: Path) -> dict[str, Any]:
    """Options of the modality: all stages of a seed share its cache."""
    cache = {"cache": "disk", "cache_folder": str(seed_folder / "cache")}
    return {"model": str(model), "caption_dropout": 0.1, **cache}


def _alignments() -> dict[str, Stage]:
    # Betas are per mean squared error: beta_dpo 2,000 of Diffusion-DPO's code is 1,000 here.
    return {
        "dpo": Stage("dpo", 5e-5, {"max_steps": 100}, 16, PAIRS, {"beta": 1000.0}),
        "mapo": Stage("mapo", 5e-5, {"max_steps": 100}, 16, PAIRS),
        "kto": Stage("kto", 5e-5, {"max_steps": 100}, 16, PAIRS, {"beta": 1000.0, "reference_point": "batch"}),
        # Each of a list's pictures has a noise of its own, so their differences are larger than a pair's.
        "rankdpo": Stage("rankdpo", 5e-5, {"max_steps": 100}, 8, LISTS, {"beta": 200.0}),
    }


@dataclass(frozen=True)
class Plan:
    """Sizes of everything.

    Attributes:
        channels: Of the UNet's two levels.
        learn: The stage that makes the start.
        imitate: SFT on the chosen pictures.
        align: The stage of each method, also with labels drawn by coin.
        size: Pictures of a list, of which the best and the worst make a pair.
        lists: Lists a caption to train on.
        held_out: Lists a caption to measure implicit accuracy and drift by.
        pictures: Pictures a caption by which a policy is measured.
        steps: Denoising steps of a picture.
        guidance_scale: How far pictures follow their captions.
        error_draws: Times and noises over which a held-out picture's denoising error is averaged.
    """

    channels: tuple[int, int] = (16, 32)
    learn: Stage = LEARN
    imitate: Stage = IMITATE
    align: Mapping[str, Stage] = field(default_factory=_alignments)
    size: int = 4
    lists: int = 16
    held_out: int = 5
    pictures: int = 20
    steps: int = 10
    guidance_scale: float = 2.0
    error_draws: int = 8

    @property
    def sampling(self) -> dict[str, Any]:
        """Options of the modality's `sample`."""
        return {"steps": self.steps, "guidance_scale": self.guidance_scale, "batch_size": 100}


def smoke_plan() -> Plan:
    """Everything once in seconds: shows that it runs, not that it works."""
    plan = Plan()
    return replace(
        plan,
        channels=(8, 16),
        learn=replace(plan.learn, length={"max_steps": 2}, batch_size=4),
        imitate=replace(plan.imitate, length={"max_steps": 2}, batch_size=4),
        align={name: replace(stage, length={"max_steps": 2}, batch_size=4) for name, stage in plan.align.items()},
        lists=2,
        held_out=1,
        pictures=2,
        steps=2,
        error_draws=1,
    )
