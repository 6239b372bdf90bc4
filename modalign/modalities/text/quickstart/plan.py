"""How large the demonstration is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modalign.modalities.quickstart.stages import Stage

MAX_LENGTH = 96

LEARN = Stage("sft", 1e-2, {"max_epochs": 3}, 32)
IMITATE = Stage("sft", 1e-3, {"max_epochs": 2}, 16)
# Betas of 0.1 are for answers of hundreds of tokens; these have about ten.
ALIGN = Stage("dpo", 7e-4, {"max_epochs": 2}, 16, options={"beta": 1.0})


def modality_options(model: Path) -> dict[str, Any]:
    """Options of the modality in every stage."""
    return {"model": str(model), "max_length": MAX_LENGTH}


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
    learn: Stage = LEARN
    imitate: Stage = IMITATE
    align: Stage = ALIGN
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
    learn=Stage("sft", 1e-2, {"max_epochs": 1}, 32),
    imitate=Stage("sft", 1e-3, {"max_epochs": 1}, 32),
    align=Stage("dpo", 5e-4, {"max_epochs": 1}, 32, options={"beta": 1.0}),
    hidden_size=32,
    draws=2,
    pairs=1,
    samples=1,
)
"""Everything once in seconds: shows that it runs, not that it works."""
