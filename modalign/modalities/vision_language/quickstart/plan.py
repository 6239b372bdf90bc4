"""How large the demonstration is, and which policies it compares."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from modalign.modalities.quickstart.stages import Stage
from modalign.modalities.vision_language.quickstart.model import MAX_LENGTH
from modalign.modalities.vision_language.quickstart.scenes import Carelessness

TITLES = {"dpo": "DPO", "rdpo": "rDPO", "mdpo": "mDPO"}

CROPPED: Mapping[str, Any] = {"other_image": {"class_path": "cropped", "init_args": {}}}

LEARN = Stage("sft", 5e-3, {"max_epochs": 2}, 16, "vision_demonstration", modality={"train_vision": True})
IMITATE = Stage("sft", 1e-3, {"max_epochs": 1}, 16, "realign")


def modality_options(model: Path) -> dict[str, Any]:
    """Options of the modality in every stage."""
    return {"model": str(model), "max_length": MAX_LENGTH}


def _alignments() -> dict[str, Stage]:
    # Betas of 0.1 are for answers of hundreds of tokens; these have about twenty.
    return {
        "dpo": Stage("dpo", 6e-4, {"max_epochs": 1}, 16, "realign", options={"beta": 1.0}),
        "rdpo": Stage("rdpo_visual", 6e-4, {"max_epochs": 1}, 16, "realign", options={"beta": 1.0}),
        "mdpo": Stage("mdpo", 6e-4, {"max_epochs": 1}, 16, "realign", options={"beta": 0.3}, modality=CROPPED),
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
    learn: Stage = LEARN
    imitate: Stage = IMITATE
    align: Mapping[str, Stage] = field(default_factory=_alignments)
    ranked: int = 480
    held_out: int = 80
    unseen: int = 120
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
        learn=replace(plan.learn, length={"max_epochs": 4}, batch_size=8),
        imitate=replace(plan.imitate, batch_size=2),
        align={name: replace(stage, batch_size=2) for name, stage in plan.align.items()},
        ranked=12,
        held_out=8,
        unseen=4,
        samples=1,
    )
