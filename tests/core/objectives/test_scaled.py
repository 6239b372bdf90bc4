"""MM-DPO: its transcription, the range of its beta, and rows without scores."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modalign.core.batch import Candidate, Comparison, Likelihood
from modalign.core.errors import ConfigError, RowError
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.scaled import MmDpo
from modalign.core.objectives.sft import Sft
from modalign.core.objectives.weighted_sum import WeightedSum
from tests.core.objectives.batches import LN2, PAIR, assert_close, make_batch, pairs, random_pairs
from tests.core.objectives.transcriptions import Row, check_against, nls


@pytest.mark.parametrize(("beta", "w", "k"), [(0.1, 0.5, 0.5), (0.3, 2.0, 0.1)])
def test_is_the_papers(beta: float, w: float, k: float) -> None:
    def formula(row: Row) -> torch.Tensor:
        d = float(row["score chosen"]) - float(row["score rejected"])
        scaled = min(max(beta * (1 + w * (1 - math.exp(-k * d))), beta), (1 + w) * beta)
        return nls(scaled * (row["chosen"] - row["ref chosen"] - row["rejected"] + row["ref rejected"]))

    check_against(MmDpo(beta, w, k), formula)


def betas(scores: list[list[float]]) -> list[float]:
    sizes = torch.ones(len(scores), 2)
    one = Likelihood(-sizes, sizes)
    batch = make_batch(PAIR, sizes, scores=torch.tensor(scores))
    return [float(beta) for beta in MmDpo(0.1, 0.5, 0.5)(one, one, batch).metrics["beta"].values]


def test_beta_grows_from_the_least_to_the_most() -> None:
    found = betas([[1.0, 1.0], [3.0, 1.0], [1e6, -1e6], [0.0, 2.0]])
    assert found == pytest.approx([0.1, 0.1 * (1.5 - 0.5 * math.exp(-1)), 0.15, 0.1], rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(a=st.floats(-5, 5), b=st.floats(-5, 5))
def test_a_clearer_preference_has_no_smaller_beta(a: float, b: float) -> None:
    smaller, larger = betas([[min(a, b), 0.0], [max(a, b), 0.0]])
    assert 0.0999 < smaller <= larger < 0.1501


def test_without_a_share_to_grow_by_it_is_dpo() -> None:
    policy, reference, batch = random_pairs(4)
    assert_close(
        MmDpo(0.2, w=0.0)(policy, reference, batch).loss(batch), Dpo(0.2)(policy, reference, batch).loss(batch)
    )
    assert MmDpo().start_loss == pytest.approx(LN2)


def test_rows_without_scores_are_named() -> None:
    policy, reference, batch = random_pairs(4)
    batch.scores[[1, 3], [0, 1]] = torch.nan
    with pytest.raises(ConfigError, match="rows 101, 103 of the data lack one") as caught:
        MmDpo()(policy, reference, batch)
    assert "chosen_score" in caught.value.cure
    with pytest.raises(ConfigError, match="rows 100, 101, 102"):
        MmDpo()(*pairs())


@pytest.mark.parametrize("scores", [(None, None), (1.0, None), (math.nan, 0.0), (0.0, math.inf)])
def test_rows_without_scores_are_refused_when_they_are_read(scores: tuple[float | None, float | None]) -> None:
    row = Comparison("q", (Candidate("a", "chosen", scores[0]), Candidate("b", "rejected", scores[1])))
    scored = Comparison("q", (Candidate("a", "chosen", 0.0), Candidate("b", "rejected", 1.0)))
    for objective in (MmDpo(), WeightedSum({"sft": Sft(), "mm_dpo": MmDpo()})):
        objective.check_comparison(scored)
        with pytest.raises(RowError, match="no score of"):
            objective.check_comparison(row)


@pytest.mark.parametrize(("option", "value"), [("beta", 0.0), ("w", -0.1), ("k", 0.0)])
def test_options_out_of_range_are_refused(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"The objective's {option} is"):
        MmDpo(**{option: value})
