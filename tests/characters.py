"""A modality whose tokens are characters, for tests of what comes before a model."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from modalign.core.batch import CHOSEN, Candidate, Comparison, Example, Likelihood, PreferenceBatch
from modalign.core.errors import RowError
from modalign.core.modality import Modality
from modalign.core.objectives.base import Needs


class Characters(Modality):
    """Cuts prompts to `max_prompt` characters and refuses responses longer than `max_response`."""

    name = "characters"
    reads = frozenset({"text"})
    extra_roles = frozenset({"loud"})

    def __init__(self, max_prompt: int = 10_000, max_response: int = 10_000) -> None:
        self.max_prompt = max_prompt
        self.max_response = max_response

    def encode(self, comparison: Comparison) -> Example:
        prompt = plain(comparison.prompt)[-self.max_prompt :]
        cells = []
        for candidate in comparison.candidates:
            response = plain(candidate.response)
            if len(response) > self.max_response:
                raise RowError(f"no room: a response of {len(response)} characters", "Shorten it.", candidate.role)
            cells.append((prompt, response))
        truncated = len(plain(comparison.prompt)) > self.max_prompt
        return Example(comparison, tuple(cells), tuple(len(response) for _, response in cells), truncated)

    def extra_candidate(self, comparison: Comparison, role: str, other: Comparison | None) -> Candidate:
        return Candidate(plain(comparison.candidate(CHOSEN).response).upper(), role)

    def load(self, model: str | None = None) -> nn.Module:
        raise NotImplementedError

    def collate_cells(self, cells: Sequence[Any]) -> dict[str, Any]:
        raise NotImplementedError

    def likelihood(self, model: nn.Module, batch: PreferenceBatch, needs: Needs) -> Likelihood:
        raise NotImplementedError


def plain(content: Any) -> str:
    """Text, or a conversation's words."""
    return content if isinstance(content, str) else "\n".join(str(message["content"]) for message in content)
