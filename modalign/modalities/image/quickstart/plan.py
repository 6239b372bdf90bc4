"""How large the demonstration is, and which policies it compares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from modalign.modalities.quickstart.stages import stage_config

START, IMITATION = "start", "SFT on the chosen"
TITLES = {"dpo": "Diffusion-DPO", "mapo": "MaPO", "kto": "Diffusion-KTO", "rankdpo": "RankDPO"}

PAIRS: Mapping[str, Any] = {"class_path": "image_pairs", "init_args": {}}
LISTS: Mapping[str, Any] = {"class_path": "image_ranked", "init_args": {"pairs": "none"}}


@dataclass(frozen=True)
class Stage:
    """What one stage of training does.

    Attributes:
        objective: Its registered name.
        learning_rate: The peak, after a warm-up and before a cosine fall to 0.
        steps: Optimiser steps.
        batch_size: Rows a step.
        format: Of the rows, with its options.
        options: Of the objective.
    """

    objective: str
    learning_rate: float
    steps: int
    batch_size: int
    format: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reads_lists(self) -> bool:
        """Whether a row holds more than two pictures."""
        return self.format == LISTS

    def config(self, model: Path, train: Path, folder: Path, seed: int) -> dict[str, Any]:
        """The stage as a config of `modalign fit`.

        Args:
            model: Where training starts.
            train: A file of rows.
            folder: Where the run is recorded.
            seed: Decides the order of the rows, and every time and noise.
        """
        cache = {"cache": "disk", "cache_folder": str(folder.parent / "cache")}
        modality = {"model": str(model), "caption_dropout": 0.1, **cache}
        return stage_config(
            modality={"class_path": "image", "init_args": modality},
            objective={"class_path": self.objective, "init_args": dict(self.options)},
            learning_rate=self.learning_rate,
            data={"train": str(train), "format": dict(self.format), "batch_size": self.batch_size},
            length={"max_steps": self.steps},
            folder=folder,
            seed=seed,
        )


def _alignments() -> dict[str, Stage]:
    # Betas are per mean squared error: beta_dpo 2,000 of Diffusion-DPO's code is 1,000 here.
    return {
        "dpo": Stage("dpo", 5e-5, 100, 16, PAIRS, {"beta": 1000.0}),
        "mapo": Stage("mapo", 5e-5, 100, 16, PAIRS),
        "kto": Stage("kto", 5e-5, 100, 16, PAIRS, {"beta": 1000.0, "reference_point": "batch"}),
        # Each of a list's pictures has a noise of its own, so their differences are larger than a pair's.
        "rankdpo": Stage("rankdpo", 5e-5, 100, 8, LISTS, {"beta": 200.0}),
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
    learn: Stage = Stage("sft", 4e-3, 300, 48, {"class_path": "image_captions", "init_args": {}})
    imitate: Stage = Stage("sft", 5e-5, 100, 16, PAIRS)
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
        learn=replace(plan.learn, steps=2, batch_size=4),
        imitate=replace(plan.imitate, steps=2, batch_size=4),
        align={name: replace(stage, steps=2, batch_size=4) for name, stage in plan.align.items()},
        lists=2,
        held_out=1,
        pictures=2,
        steps=2,
        error_draws=1,
    )


@dataclass(frozen=True)
class Policy:
    """A trained row of the report.

    Attributes:
        title: Its name in the report.
        stage: How it is trained from the start.
        coin: Whether its labels are drawn by coin.
        folder: The name of its run's folder.
    """

    title: str
    stage: Stage
    coin: bool
    folder: str

    @property
    def rows(self) -> str:
        """The name of the file it is trained on."""
        kind = "lists" if self.stage.reads_lists else "pairs"
        return f"coin_{kind}.jsonl" if self.coin else f"{kind}.jsonl"


def coin_title(title: str) -> str:
    """What the control of a method is called."""
    return f"{title}, coin"


def policies(plan: Plan, methods: Sequence[str]) -> list[Policy]:
    """Every policy that is trained from the start, each method after its control."""
    found = [Policy(IMITATION, plan.imitate, False, "sft_on_chosen")]
    for method in methods:
        title, stage = TITLES[method], plan.align[method]
        found.append(Policy(coin_title(title), stage, True, f"{method}_coin"))
        found.append(Policy(title, stage, False, method))
    return found
