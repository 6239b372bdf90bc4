"""How large the demonstration is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modalign.modalities.quickstart.stages import stage_config

MAX_LENGTH = 96


@dataclass(frozen=True)
class Stage:
    """What one stage of training does.

    Attributes:
        objective: Its registered name.
        learning_rate: The peak, after a warm-up and before a cosine fall to 0.
        epochs: Passes over the data.
        batch_size: Rows a step.
        options: Of the objective.
    """

    objective: str
    learning_rate: float
    epochs: int
    batch_size: int = 32
    options: Mapping[str, float] = field(default_factory=dict)

    def config(self, model: Path, train: Path, folder: Path, seed: int) -> dict[str, Any]:
        """The stage as a config of `modalign fit`.

        Args:
            model: Where training starts.
            train: A file of rows.
            folder: Where the run is recorded.
            seed: Decides the order of the rows.
        """
        return stage_config(
            modality={"class_path": "text", "init_args": {"model": str(model), "max_length": MAX_LENGTH}},
            objective={"class_path": self.objective, "init_args": dict(self.options)},
            learning_rate=self.learning_rate,
            data={"train": str(train), "format": "auto", "batch_size": self.batch_size},
            length={"max_epochs": self.epochs},
            folder=folder,
            seed=seed,
        )


@dataclass(frozen=True)
class Plan:
    """Sizes of everything.

    Attributes:
        answers: Demonstrations for each training prompt.
        learn: The stage that makes the start.
        imitate: SFT on the chosen responses.
        align: DPO, also with labels drawn by coin.
        vocab_size: Tokens.
        hidden_size: Width of the model.
        layers: Its depth.
        initializer_range: Standard deviation of its random weights.
        draws: Responses of which the best and the worst make a pair.
        pairs: Pairs a prompt.
        samples: Responses to an unseen prompt by which a policy is measured.
        response_tokens: The most tokens of a response.
    """

    answers: int = 10
    learn: Stage = Stage("sft", learning_rate=1e-2, epochs=3)
    imitate: Stage = Stage("sft", learning_rate=1e-3, epochs=2, batch_size=16)
    # Betas of 0.1 are for answers of hundreds of tokens; these have about ten.
    align: Stage = Stage("dpo", learning_rate=7e-4, epochs=2, batch_size=16, options={"beta": 1.0})
    vocab_size: int = 768
    hidden_size: int = 96
    layers: int = 1
    initializer_range: float = 0.06
    draws: int = 4
    pairs: int = 2
    samples: int = 3
    response_tokens: int = 26

    @property
    def sampling(self) -> dict[str, int]:
        """Options of the modality's `sample`."""
        return {"max_new_tokens": self.response_tokens, "batch_size": 128}


SMOKE = Plan(
    answers=2,
    learn=Stage("sft", learning_rate=1e-2, epochs=1),
    imitate=Stage("sft", learning_rate=1e-3, epochs=1),
    align=Stage("dpo", learning_rate=5e-4, epochs=1, options={"beta": 1.0}),
    hidden_size=32,
    samples=1,
)
"""Everything once in seconds: shows that it runs, not that it works."""
