"""SymMPO: its transcription, which cells it asks for, and its start."""

import pytest
import torch

from modalign.core.batch import Likelihood
from modalign.core.errors import ConfigError
from modalign.core.objectives.symmetric import SymMpo
from tests.core.objectives.batches import LN2, assert_close, random_pairs
from tests.core.objectives.transcriptions import Row, check_against, nls

CELLS = ("other_chosen", "other_chosen@other_image", "chosen@other_image")


@pytest.mark.parametrize(
    ("beta", "anchor_beta", "pair_weight", "consistency"), [(0.1, 0.1, 0.5, 1e-4), (0.3, 0.7, 2.0, 0.05)]
)
def test_is_the_papers(beta: float, anchor_beta: float, pair_weight: float, consistency: float) -> None:
    def formula(row: Row) -> torch.Tensor:
        w1, l1, u1, u2, w2 = (row[role] - row[f"ref {role}"] for role in ("chosen", "rejected", *CELLS))
        h, h1, h2 = w1 - l1, w1 - u1, u2 - w2
        pairs = pair_weight * (nls(beta * h1) + nls(beta * h2))
        return nls(beta * h) + pairs + nls(beta * w1) + nls(anchor_beta * u2) + consistency * (h1 - h2) ** 2

    check_against(SymMpo(beta, anchor_beta, pair_weight, consistency), formula)


def test_asks_for_five_cells_and_starts_at_a_known_loss() -> None:
    objective = SymMpo(pair_weight=0.25)
    assert objective.extra_roles == CELLS
    policy, _, batch = random_pairs(3, roles=("chosen", "rejected", *CELLS))
    same = Likelihood(policy.logps.detach(), policy.sizes)
    assert objective.start_loss == pytest.approx(3.5 * LN2, rel=1e-12)
    assert_close(objective(policy, same, batch).loss(batch), 3.5 * LN2)


def test_swapping_the_images_swaps_the_two_pairs_of_right_answers() -> None:
    """With no wrong answer in sight, the images play equal parts."""
    roles = ("chosen", "rejected", *CELLS)
    policy, reference, batch = random_pairs(4, roles=roles)
    order = [3, 1, 4, 0, 2]  # u2 w2 w1 u1 in the places of w1 u1 u2 w2
    swapped = [Likelihood(one.logps[:, order], one.sizes) for one in (policy, reference)]
    here, there = SymMpo()(policy, reference, batch), SymMpo()(*swapped, batch)
    for number in (1, 2):
        assert_close(here.terms[number].values, there.terms[number].values)
    assert_close(here.terms[3].values, there.terms[4].values)
    assert_close(here.metrics["rewards/image_margins"].values, there.metrics["rewards/other_image_margins"].values)


@pytest.mark.parametrize("option", ["beta", "anchor_beta", "pair_weight", "consistency"])
def test_options_out_of_range_are_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=f"The objective's {option} is"):
        SymMpo(**{option: -1.0})
