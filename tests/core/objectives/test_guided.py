"""V-DPO: its transcription, what gets a gradient, and its limit."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modalign.core.errors import ConfigError
from modalign.core.objectives.guided import VDpo
from modalign.core.objectives.pairwise import Dpo
from tests.core.objectives.batches import assert_close, gradient, random_pairs
from tests.core.objectives.transcriptions import Row, check_against, nls

CELLS = ("chosen@other_image", "rejected@other_image")
ROLES = ("chosen", "rejected", *CELLS)


@pytest.mark.parametrize(
    ("guidance", "unguided", "smoothing"), [(1.5, "reference", 0.0), (2.0, "policy", 0.0), (1.1, "policy", 0.2)]
)
def test_is_the_papers(guidance: float, unguided: Any, smoothing: float) -> None:
    def formula(row: Row) -> torch.Tensor:
        model = "ref " if unguided == "reference" else ""
        gains = []
        for role in ("chosen", "rejected"):
            without_image = row[f"{model}{role}@other_image"].detach()
            gains.append(guidance * row[role] - (guidance - 1) * without_image - row[f"ref {role}"])
        h = gains[0] - gains[1]
        return (1 - smoothing) * nls(0.3 * h) + smoothing * nls(-0.3 * h)

    check_against(VDpo(0.3, guidance, unguided, smoothing), formula)


@pytest.mark.parametrize("unguided", ["policy", "reference"])
def test_cells_without_the_image_need_no_gradient_and_get_none(unguided: Any) -> None:
    objective = VDpo(unguided=unguided)
    assert objective.extra_roles == CELLS
    assert objective.needs.no_grad_roles == frozenset(CELLS)
    policy, reference, batch = random_pairs(3, roles=ROLES)
    assert not gradient(objective, policy, reference, batch)[:, 2:].any()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), guidance=st.floats(1.01, 4))
def test_the_gradient_of_guidance_is_as_many_times_dpos_at_an_equal_margin(seed: int, guidance: float) -> None:
    policy, reference, batch = random_pairs(3, seed, roles=ROLES)
    # Where the image changes neither likelihood, guidance changes the weight of the pair, not its margin.
    policy.logps.data[:, 2:] = policy.logps.data[:, :2]
    guided = gradient(VDpo(0.1, guidance, "policy"), policy, reference, batch)[:, :2]
    assert_close(guided, guidance * gradient(Dpo(0.1), policy, reference, batch)[:, :2])


@pytest.mark.parametrize("guidance", [1.0, 0.0, -2.0])
def test_a_guidance_that_does_not_guide_is_refused(guidance: float) -> None:
    with pytest.raises(ConfigError, match="guidance is"):
        VDpo(guidance=guidance)


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="unguided is 'politics'") as caught:
        VDpo(unguided="politics")  # type: ignore[arg-type]
    assert "policy" in caught.value.cure
