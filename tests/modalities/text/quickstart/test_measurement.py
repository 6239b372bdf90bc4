"""Measurements against distributions and numbers worked out by hand."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from modalign.core.batch import Comparison, Example, Likelihood, PreferenceBatch
from modalign.core.modality import Modality
from modalign.core.objectives.base import Needs
from modalign.core.reward import Reward
from modalign.modalities.text.quickstart.instructions import Instruction
from modalign.modalities.text.quickstart.measurement import Examination


class Urn(nn.Module):
    """A model that answers every prompt with a word of known probability."""

    def __init__(self, probabilities: dict[str, float], answers: list[str]) -> None:
        super().__init__()
        self.probabilities = probabilities
        self.answers = answers


class Urns(Modality):
    name: ClassVar[str] = "urns"

    def load(self, model: str | None = None) -> nn.Module:
        raise NotImplementedError

    def encode(self, comparison: Comparison) -> Example:
        cells = tuple(candidate.response for candidate in comparison.candidates)
        return Example(comparison, cells, (1,) * len(cells))

    def collate_cells(self, cells: Sequence[Any]) -> dict[str, Any]:
        return {"words": list(cells)}

    def likelihood(self, model: Any, batch: PreferenceBatch, needs: Needs) -> Likelihood:
        logps = torch.tensor([math.log(model.probabilities[word]) for word in batch.inputs["words"]])
        return Likelihood(batch.scatter(logps), batch.sizes)

    def sample(self, model: Any, prompts: Sequence[Any], n: int = 1, seed: int = 0, **options: Any) -> list[list[Any]]:
        assert n == len(model.answers)
        return [list(model.answers) for _ in prompts]


class LengthOfWord(Reward):
    name: ClassVar[str] = "length_of_word"
    modalities: ClassVar[frozenset[str]] = frozenset({"urns"})

    def score(self, prompts: Sequence[Any], candidates: Sequence[Any]) -> Tensor:
        return torch.tensor([float(len(candidate)) for candidate in candidates])


START = Urn({"no": 0.5, "yes": 0.25, "perhaps": 0.25}, ["no", "no", "no", "yes", "perhaps"])
POLICY = Urn({"no": 0.2, "yes": 0.6, "perhaps": 0.2}, ["no", "yes", "yes", "yes", "perhaps"])


@pytest.fixture
def examination() -> Examination:
    yes = Instruction("Yes or no?\n", (), ((frozenset({"yes"}), 1),), frozenset())
    any_word = Instruction("Say something.\n", (), (), frozenset({"perhaps"}))
    pairs = [
        {"prompt": "a", "chosen": "yes", "rejected": "no"},
        {"prompt": "a", "chosen": "perhaps", "rejected": "no"},
        {"prompt": "b", "chosen": "no", "rejected": "perhaps"},
        {"prompt": "b", "chosen": "yes", "rejected": "perhaps"},
    ]
    return Examination(Urns(), (yes, any_word), pairs, LengthOfWord(), START, [START.answers] * 2, 0, {})


def test_policy_is_measured_against_known_probabilities(examination: Examination) -> None:
    measured = examination.measure(POLICY)
    # The answers stand in the policy's own proportions, so that the estimate is the divergence itself.
    kl = 0.2 * math.log(0.2 / 0.5) + 0.6 * math.log(0.6 / 0.25) + 0.2 * math.log(0.2 / 0.25)
    torch.testing.assert_close(measured.kl, torch.full((2,), kl))
    torch.testing.assert_close(measured.reward, torch.full((2,), (2 + 3 * 3 + 7) / 5))
    # no-no ties, yes-no and yes-no win, yes-yes and perhaps-perhaps tie.
    torch.testing.assert_close(measured.wins, torch.full((2,), (2 + 3 * 0.5) / 5))
    torch.testing.assert_close(measured.correct, torch.tensor([3 / 5, 4 / 5]))
    gains = {word: math.log(POLICY.probabilities[word] / START.probabilities[word]) for word in POLICY.probabilities}
    torch.testing.assert_close(
        measured.drift, torch.tensor([gains["yes"], gains["perhaps"], gains["no"], gains["yes"]])
    )
    torch.testing.assert_close(measured.accuracy, torch.tensor([1.0, 1.0, 0.0, 1.0]))
    assert measured.means()["accuracy"] == 0.75


def test_the_start_has_moved_nowhere(examination: Examination) -> None:
    measured = examination.measure(START)
    torch.testing.assert_close(measured.kl, torch.zeros(2))
    torch.testing.assert_close(measured.drift, torch.zeros(4))
    torch.testing.assert_close(measured.accuracy, torch.full((4,), 0.5))
    torch.testing.assert_close(measured.wins, torch.full((2,), 0.5))


def test_empty_answers_count_as_no_divergence(examination: Examination) -> None:
    silent = Urn(POLICY.probabilities, ["", "", "", "", "yes"])
    expected = math.log(0.6 / 0.25) / 5
    torch.testing.assert_close(examination.measure(silent).kl, torch.full((2,), expected))
