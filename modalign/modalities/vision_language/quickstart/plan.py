"""How large the demonstration is, and which policies it compares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from modalign.modalities.quickstart.stages import stage_config
from modalign.modalities.vision_language.quickstart.model import MAX_LENGTH
from modalign.modalities.vision_language.quickstart.scenes import Carelessness

START, IMITATION = "start", "SFT on the chosen"
TITLES = {"dpo": "DPO", "rdpo": "rDPO", "mdpo": "mDPO"}

CROPPED: Mapping[str, Any] = {"other_image": {"class_path": "cropped", "init_args": {}}}


@dataclass(frozen=True)
class Stage:
    """What one stage of training does.

    Attributes:
        objective: Its registered name.
        learning_rate: The peak, after a warm-up and before a cosine fall to 0.
        epochs: Passes over the rows.
        batch_size: Rows a step.
        format: Of the rows.
        options: Of the objective.
        modality: Options of the modality.
    """

    objective: str
    learning_rate: float
    epochs: int
    batch_size: int
    format: str = "realign"
    options: Mapping[str, Any] = field(default_factory=dict)
    modality: Mapping[str, Any] = field(default_factory=dict)

    def config(self, model: Path, train: Path, folder: Path, seed: int) -> dict[str, Any]:
        """The stage as a config of `modalign fit`.

        Args:
            model: Where training starts.
            train: A file of rows.
            folder: Where the run is recorded.
            seed: Decides the order of the rows, and the crops of images.
        """
        modality = {"model": str(model), "max_length": MAX_LENGTH, **self.modality}
        return stage_config(
            modality={"class_path": "vision_language", "init_args": modality},
            objective={"class_path": self.objective, "init_args": dict(self.options)},
            learning_rate=self.learning_rate,
            data={"train": str(train), "format": self.format, "batch_size": self.batch_size},
            length={"max_epochs": self.epochs},
            folder=folder,
            seed=seed,
        )


def _alignments() -> dict[str, Stage]:
    # Betas of 0.1 are for answers of hundreds of tokens; these have about twenty.
    return {
        "dpo": Stage("dpo", 6e-4, 1, 16, options={"beta": 1.0}),
        "rdpo": Stage("rdpo_visual", 6e-4, 1, 16, options={"beta": 1.0}),
        "mdpo": Stage("mdpo", 6e-4, 1, 16, options={"beta": 0.3}, modality=CROPPED),
    }


@dataclass(frozen=True)
class Plan:
    """Sizes of everything.

    Attributes:
        hidden_size: Width of the tower and of the decoder.
        carelessness: How often the descriptions that are learned from are wrong.
        described: Pictures with a description to learn from.
        learn: The stage that makes the start.
        imitate: SFT on the chosen descriptions.
        align: The stage of each method, also with labels drawn by coin.
        ranked: Further pictures, which the start describes to be ranked and trained on.
        held_out: Further ones, for pairs to measure implicit accuracy and drift by.
        unseen: Further ones, by whose descriptions a policy is measured.
        draws: Descriptions of a picture of which a pair is made.
        samples: Descriptions of an unseen picture.
        description_tokens: The most tokens of a description.
    """

    hidden_size: int = 64
    carelessness: Carelessness = field(default_factory=Carelessness)
    described: int = 3200
    learn: Stage = Stage("sft", 5e-3, 2, 16, "vision_demonstration", modality={"train_vision": True})
    imitate: Stage = Stage("sft", 1e-3, 1, 16)
    align: Mapping[str, Stage] = field(default_factory=_alignments)
    ranked: int = 600
    held_out: int = 80
    unseen: int = 150
    draws: int = 4
    samples: int = 2
    description_tokens: int = 36

    @property
    def pictures(self) -> int:
        """All pictures."""
        return self.described + self.ranked + self.held_out + self.unseen

    @property
    def sampling(self) -> dict[str, int]:
        """Options of the modality's `sample`."""
        return {"max_new_tokens": self.description_tokens, "batch_size": 256}


def smoke_plan() -> Plan:
    """Everything once in seconds: shows that it runs, not that it works."""
    plan = Plan()
    return replace(
        plan,
        hidden_size=32,
        described=128,
        learn=replace(plan.learn, epochs=4, batch_size=8),
        imitate=replace(plan.imitate, batch_size=2),
        align={name: replace(stage, batch_size=2) for name, stage in plan.align.items()},
        ranked=12,
        held_out=8,
        unseen=4,
        samples=1,
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
        return "coin_pairs.jsonl" if self.coin else "pairs.jsonl"


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
