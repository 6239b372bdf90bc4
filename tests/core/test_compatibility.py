"""Parts that do not fit together are refused when the config is built, with the cure."""

from pathlib import Path

import pytest
from lightning.pytorch.plugins.precision import DoublePrecision, HalfPrecision, MixedPrecision

from modalign import PreferenceModule
from modalign.core.batch import Candidate, Comparison
from modalign.core.compatibility import check_feedback, check_precision, check_strategy
from modalign.core.errors import ConfigError
from modalign.core.format import Format
from modalign.core.objectives.base import Feedback, Needs, Objective
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.pointwise import Kto
from modalign.core.objectives.reference_free import SimPo
from modalign.core.objectives.sft import Sft
from modalign.core.reference import CachedReference, FrozenReference, NoReference
from tests.toy import Letters, Pairs


class Asking(Dpo):
    """Wants what no token model of ours gives."""

    def __init__(self, **wants) -> None:
        super().__init__()
        self._wants = Needs(**wants)

    @property
    def needs(self) -> Needs:
        return self._wants


class Thumbs(Format):
    name = "thumbs"

    def matches(self, columns) -> bool:
        return "label" in columns

    def parse(self, row) -> list[Comparison]:
        return [Comparison(row["prompt"], (Candidate(row["text"], score=float(row["label"])),))]

    def feedback(self, columns) -> frozenset[Feedback]:
        return frozenset({Feedback.POINTWISE})


@pytest.mark.parametrize(
    ("objective", "reference", "told"),
    [
        (SimPo(), FrozenReference(), "uses no reference"),
        (Sft(), CachedReference("x.sqlite"), "uses no reference"),
        (Dpo(), NoReference(), "needs a reference"),
        (Asking(token_logps=True), CachedReference("x.sqlite"), "one log-probability a response"),
        (Asking(extra=frozenset({"divergence"})), None, "needs divergence"),
    ],
)
def test_refused(objective: Objective, reference, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as refusal:
        PreferenceModule(Letters(), objective, reference)
    assert refusal.value.cure


def test_unknown_cells_are_refused() -> None:
    objective = Dpo()
    objective.extra_roles = ("other_image",)
    with pytest.raises(ConfigError, match="other_image"):
        PreferenceModule(Letters(), objective)


@pytest.mark.parametrize(
    ("objective", "reference"), [(SimPo(), NoReference()), (SimPo(), None), (Dpo(), FrozenReference())]
)
def test_accepted(objective: Objective, reference) -> None:
    PreferenceModule(Letters(), objective, reference)


def test_pairs_asked_of_thumbs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Dpo learns from pairs.*thumbs\.jsonl \(columns prompt, text, label\)"):
        check_feedback(Dpo(), Thumbs(), {"prompt": "a", "text": "b", "label": 1}, "thumbs.jsonl")
    check_feedback(Kto(), Thumbs(), {"prompt": "a", "text": "b", "label": 1}, "thumbs.jsonl")
    check_feedback(Dpo(), Pairs(), {"prompt": "a", "chosen": "b", "rejected": "c"}, "pairs.jsonl")


def test_sharding_is_refused() -> None:
    from lightning.pytorch.strategies import ModelParallelStrategy, SingleDeviceStrategy

    with pytest.raises(ConfigError, match="ModelParallelStrategy"):
        check_strategy(ModelParallelStrategy())
    check_strategy(SingleDeviceStrategy())


@pytest.mark.parametrize(("precision", "dtype"), [("bf16-true", "bfloat16"), ("16-true", "float16")])
def test_precisions_that_round_batches_are_refused(precision: str, dtype: str) -> None:
    with pytest.raises(ConfigError, match=f"precision {precision} rounds(.|\n)*dtype: {dtype}"):
        check_precision(HalfPrecision(precision))  # type: ignore[arg-type]
    check_precision(MixedPrecision("bf16-mixed", "cpu"))
    check_precision(DoublePrecision())
