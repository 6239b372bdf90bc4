"""Dense DPO: its transcription, its limits, and what it logs."""

import pytest
import torch

from modalign.core.batch import Likelihood
from modalign.core.errors import ConfigError
from modalign.core.objectives.dense import DenseDpo
from modalign.core.objectives.pairwise import Dpo
from tests.core.objectives.batches import LN2, assert_close, random_pairs
from tests.core.objectives.transcriptions import Row, check_against, nls


@pytest.mark.parametrize(("beta", "gamma", "average"), [(0.5, 5.0, True), (0.1, 1.1, False)])
def test_is_the_papers_and_the_released_codes(beta: float, gamma: float, average: bool) -> None:
    def worth(row: Row, model: str, role: str) -> torch.Tensor:
        corrected, count = row[f"{model}corrected_logps {role}"], row[f"corrected_sizes {role}"]
        if model:
            corrected = corrected.detach()
        total = (row[f"{model}{role}"] - corrected) + gamma * corrected
        return total / ((row[f"size {role}"] - count) + gamma * count) if average else total

    def formula(row: Row) -> torch.Tensor:
        m = [worth(row, "", role) - worth(row, "ref ", role) for role in ("chosen", "rejected")]
        return nls(beta * (m[0] - m[1]))

    check_against(DenseDpo(beta, gamma, average), formula)


def test_with_equal_weights_it_is_dpo() -> None:
    policy, reference, batch = random_pairs(4)
    dense, plain = DenseDpo(0.2, 1.0, average=False), Dpo(0.2)
    assert_close(dense(policy, reference, batch).loss(batch), plain(policy, reference, batch).loss(batch))


def test_the_weights_of_tokens_do_not_matter_where_all_are_corrected_and_averaged() -> None:
    policy, reference, batch = random_pairs(4)
    for one in (policy, reference):
        one.extra = {"corrected_logps": one.logps, "corrected_sizes": one.sizes}
    losses = [DenseDpo(0.5, gamma)(policy, reference, batch).loss(batch) for gamma in (1.0, 7.0)]
    assert_close(*losses)


def test_logs_how_much_was_corrected_and_starts_at_ln_2() -> None:
    sizes = torch.tensor([[4.0, 5.0]])
    extra = {"corrected_logps": torch.tensor([[-1.0, -2.0]]), "corrected_sizes": torch.tensor([[1.0, 2.0]])}
    one = Likelihood(torch.tensor([[-4.0, -6.0]]), sizes, extra=extra)
    _, _, batch = random_pairs(1, roles=("chosen", "rejected"))
    output = DenseDpo()(one, one, batch)
    assert_close(output.loss(batch), LN2)
    assert DenseDpo().start_loss == pytest.approx(LN2)
    assert [float(output.metrics[f"corrected/{side}"].values) for side in ("chosen", "rejected")] == pytest.approx(
        [0.25, 0.4]
    )


@pytest.mark.parametrize("option", ["beta", "gamma"])
def test_options_out_of_range_are_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=f"The objective's {option} is 0"):
        DenseDpo(**{option: 0.0})
