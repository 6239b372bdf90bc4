"""Length-regularised DPO: published values, its transcription, and the sign of the price."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modalign.core.errors import ConfigError
from modalign.core.objectives.length import LcDpo
from modalign.core.objectives.pairwise import Dpo
from tests.core.objectives.batches import LN2, assert_close, gradient, pairs, random_pairs
from tests.core.objectives.transcriptions import Row, check_against, nls


def test_values() -> None:
    policy, reference, batch = pairs()
    output = LcDpo(0.1, 0.05)(policy, reference, batch)
    assert_close(output.terms[0].values, [0.634946102, 0.749658919, 0.558623048], 2e-9)
    assert_close(output.loss(batch), 0.647742689, 2e-9)


@pytest.mark.parametrize(("alpha", "smoothing"), [(0.05, 0.0), (0.3, 0.2)])
def test_is_the_papers_with_a_smoothing_that_turns_the_whole_sign(alpha: float, smoothing: float) -> None:
    def formula(row: Row) -> torch.Tensor:
        h = row["chosen"] - row["ref chosen"] - row["rejected"] + row["ref rejected"]
        x = 0.2 * h + alpha * (row["size chosen"] - row["size rejected"])
        return (1 - smoothing) * nls(x) + smoothing * nls(-x)

    check_against(LcDpo(0.2, alpha, smoothing), formula)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), alpha=st.floats(0.01, 1))
def test_a_longer_winner_teaches_less_than_under_dpo_and_a_shorter_one_more(seed: int, alpha: float) -> None:
    policy, reference, batch = random_pairs(6, seed)
    priced = gradient(LcDpo(0.1, alpha), policy, reference, batch)[:, 0].abs()
    plain = gradient(Dpo(0.1), policy, reference, batch)[:, 0].abs()
    longer = policy.sizes[:, 0] - policy.sizes[:, 1]
    difference = (plain - priced).round(decimals=12)
    assert torch.equal(difference.sign(), longer.sign().double())


def test_without_a_price_it_is_dpo() -> None:
    policy, reference, batch = pairs()
    assert torch.equal(
        LcDpo(0.1, 0.0)(policy, reference, batch).loss(batch), Dpo(0.1)(policy, reference, batch).loss(batch)
    )
    assert LcDpo(alpha=0.0).start_loss == pytest.approx(LN2)
    assert LcDpo().start_loss is None


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"alpha is -0\.1"):
        LcDpo(alpha=-0.1)
    with pytest.raises(ConfigError, match=r"label_smoothing is 0\.5"):
        LcDpo(label_smoothing=0.5)
