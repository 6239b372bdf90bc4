"""The smallest modality there is: strings of letters under a bigram model. For tests of the loop."""

import json
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import nn

from modalign.core.batch import Candidate, Comparison, Example, Likelihood, PreferenceBatch
from modalign.core.errors import RowError
from modalign.core.format import Format
from modalign.core.modality import Modality
from modalign.core.objectives.base import Needs

LETTERS = 27


class Bigrams(nn.Module):
    """Next-letter logits from the letter before, with dropout and a frozen part."""

    def __init__(self, dropout: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.embed = nn.Embedding(LETTERS, 8, dtype=dtype)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(8, LETTERS, dtype=dtype)
        self.frozen = nn.Parameter(torch.ones(3, dtype=dtype), requires_grad=False)

    def forward(self, before: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(torch.tanh(self.embed(before))))


class Letters(Modality):
    name = "letters"
    reads = frozenset({"text"})

    def __init__(self, dropout: float = 0.0, double: bool = False, longest: int = 64) -> None:
        self.dropout = dropout
        self.double = double
        self.longest = longest

    def load(self, model: str | None = None) -> nn.Module:
        return Bigrams(self.dropout, torch.float64 if self.double else torch.float32).train()

    def encode(self, comparison: Comparison) -> Example:
        cells = []
        for candidate in comparison.candidates:
            prompt = comparison.prompt if candidate.context is None else candidate.context
            if not isinstance(candidate.response, str) or not candidate.response:
                raise RowError("the response is not a string of letters", "Write letters.")
            cells.append((_codes(prompt or "a")[-1:], _codes(candidate.response)[: self.longest]))
        return Example(comparison, tuple(cells), tuple(len(response) for _, response in cells))

    def collate_cells(self, cells: Any) -> dict[str, Any]:
        texts = [prompt + response for prompt, response in cells]
        length = max(map(len, texts))
        ids = torch.tensor([text + [0] * (length - len(text)) for text in texts])
        real = torch.tensor([[1] * (len(text) - 1) + [0] * (length - len(text)) for text in texts])
        return {"ids": ids, "real": real}

    def likelihood(self, model: nn.Module, batch: PreferenceBatch, needs: Needs) -> Likelihood:
        ids, real = batch.inputs["ids"], batch.inputs["real"]
        logits = model(ids[:, :-1]).log_softmax(-1)
        logps = logits.gather(-1, ids[:, 1:, None]).squeeze(-1) * real
        return Likelihood(batch.scatter(logps.sum(1)), batch.sizes)

    def export(self, model: nn.Module, folder: Path, card: str, overwrite: bool = False, **options: Any) -> None:
        folder.mkdir(parents=True, exist_ok=overwrite)
        torch.save(model.state_dict(), folder / "weights.pt")
        (folder / "README.md").write_text(card)

    def sample(self, model: nn.Module, prompts: Any, n: int = 1, seed: int = 0, **options: Any) -> list[list[str]]:
        return [["aeiou"[: 1 + number % 5] for number in range(n)] for _ in prompts]


class Pairs(Format):
    name = "toy_pairs"

    def matches(self, columns: Mapping[str, Any]) -> bool:
        return {"prompt", "chosen", "rejected"} <= set(columns)

    def parse(self, row: Mapping[str, Any]) -> list[Comparison]:
        if not row.get("chosen"):
            raise RowError("nothing was chosen", "Write letters.", column="chosen")
        return [Comparison(row["prompt"], (Candidate(row["chosen"], "chosen"), Candidate(row["rejected"], "rejected")))]


def _codes(text: str) -> list[int]:
    return [1 + (ord(letter) - ord("a")) % (LETTERS - 1) for letter in text]


def write_pairs(path: Path, rows: int, seed: int = 0) -> Path:
    """A file of pairs whose chosen likes vowels."""
    draw = Random(seed)
    lines = []
    for row in range(rows):
        chosen = "".join(draw.choice("aeiouxyz") for _ in range(draw.randint(1, 12)))
        rejected = "".join(draw.choice("bcdfgxyz") for _ in range(draw.randint(1, 12)))
        lines.append(
            json.dumps({"prompt": f"{draw.choice('klmn')}{row}q", "chosen": chosen, "rejected": rejected + "b"})
        )
    path.write_text("\n".join(lines) + "\n")
    return path
