"""What a run says at its start of the strength of its objective."""

import pytest

from modalign.core.objectives.base import Objective
from modalign.core.objectives.listwise import RankDpo
from modalign.core.objectives.mapo import MaPo
from modalign.core.objectives.pairwise import Dpo, Ipo
from modalign.core.objectives.pointwise import Bco, Kto
from modalign.core.objectives.reference_free import Cpo, Orpo
from modalign.core.objectives.sft import Sft
from modalign.core.objectives.weighted_sum import WeightedSum
from modalign.modalities.diffusion.strength import strength_notes

SD15 = {"512x512": 4 * 64 * 64, "1024x1024": 4 * 128 * 128}


def test_the_numbers_of_the_paper() -> None:
    """beta_dpo 5,000 of Salesforce's code is 0.153 per unit of squared norm at 512, and a quarter of it at 1024."""
    assert strength_notes(Dpo(beta=2500), SD15) == [
        "beta 2500 works per mean squared error: 0.153 per unit of squared error at 512x512 (16,384 latent numbers); "
        "the same at 1024x1024 pulls a quarter as hard."
    ]
    (note,) = strength_notes(Dpo(beta=2500), {"1024x1024": 4 * 128 * 128})
    assert "0.0381 per unit" in note


@pytest.mark.parametrize("objective", [Dpo(0.1), Kto(0.1), Bco(0.1), Cpo(0.1), RankDpo(0.1)])
def test_a_text_models_beta_is_remarked_on(objective: Objective) -> None:
    works, remark = strength_notes(objective, SD15)
    assert works.startswith("beta 0.1 works")
    assert "50 to 2,500" in remark


def test_others() -> None:
    assert strength_notes(Ipo(beta=500), SD15) == ["beta 500 asks for a margin of 0.001 in mean squared error."]
    (note,) = strength_notes(MaPo(), SD15)
    assert "like a beta of 250 without a reference per mean squared error: 0.0153 per" in note
    assert strength_notes(Sft(), SD15) == []
    assert strength_notes(Orpo(), SD15) == []


def test_sums_name_their_parts() -> None:
    objective = WeightedSum({"dpo": Dpo(2000), "more": WeightedSum({"kto": Kto(1000), "sft": Sft()})})
    first, second = strength_notes(objective, {})
    assert first == "dpo.beta 2000 works per mean squared error."
    assert second == "more.kto.beta 1000 works per mean squared error."


def test_other_shares() -> None:
    assert "pulls half as hard" in strength_notes(Dpo(100), {"5 s": 10, "10 s": 20})[0]
    assert "pulls 0.33 times as hard" in strength_notes(Dpo(100), {"5 s": 10, "15 s": 30})[0]
