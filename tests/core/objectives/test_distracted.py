"""POVID: its transcription, its needs and its start."""

import pytest
import torch

from modalign.core.batch import Likelihood
from modalign.core.errors import ConfigError
from modalign.core.objectives.distracted import Povid
from tests.core.objectives.batches import LN2, assert_close, random_pairs
from tests.core.objectives.transcriptions import Row, check_against, nls

ROLES = ("chosen", "rejected", "chosen@other_image")


@pytest.mark.parametrize(("beta", "weight"), [(0.1, 0.5), (0.3, 0.2)])
def test_is_the_papers(beta: float, weight: float) -> None:
    def formula(row: Row) -> torch.Tensor:
        w, l = (row[role] - row[f"ref {role}"] for role in ("chosen", "rejected"))  # noqa: E741
        misled = row["misled_logps chosen"] - row["ref misled_logps chosen"].detach()
        return weight * nls(beta * (w - misled)) + (1 - weight) * nls(beta * (w - l))

    check_against(Povid(beta, weight), formula)


def test_the_noised_cell_only_chooses_tokens() -> None:
    assert Povid().extra_roles == ("chosen@other_image",)
    assert Povid().needs.no_grad_roles == {"chosen@other_image"}
    assert Povid().needs.extra == {"misled_logps"}


def test_loss_at_the_start() -> None:
    policy, _, batch = random_pairs(3, roles=ROLES)
    same = Likelihood(policy.logps.detach(), policy.sizes, extra=policy.extra)
    assert Povid(noise_weight=0.3).start_loss == pytest.approx(LN2)
    assert_close(Povid(noise_weight=0.3)(policy, same, batch).loss(batch), LN2)


@pytest.mark.parametrize("weight", [0.0, 1.0, -0.5, float("nan")])
def test_a_share_that_leaves_one_part_out_is_refused(weight: float) -> None:
    with pytest.raises(ConfigError, match="noise_weight is"):
        Povid(noise_weight=weight)
