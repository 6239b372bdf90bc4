"""References: what each is made of, what a cache remembers, and what it must not."""

import copy
from pathlib import Path

import pytest
import torch

from modalign.core.batch import Candidate, Comparison, PreferenceBatch
from modalign.core.content import content_hash
from modalign.core.errors import ConfigError, UserError
from modalign.core.loader import Collate
from modalign.core.modality import Modality
from modalign.core.objectives.base import Needs
from modalign.core.order import Pick
from modalign.core.reference import (
    AdapterReference,
    CachedReference,
    FrozenReference,
    MovingReference,
    Reference,
    ReferenceContext,
)
from tests.toy import Letters

ROWS = [("k", "ae", "bcd"), ("l", "iou", "fg"), ("m", "a", "bb")]


class Counting(Letters):
    """Counts the comparisons whose likelihood was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = 0

    def likelihood(self, model, batch, needs):
        self._seen += len(batch)
        return super().likelihood(model, batch, needs)


def batches(modality: Modality, rows: list[tuple[str, str, str]] = ROWS, size: int = 2) -> list[PreferenceBatch]:
    collate = Collate(modality, fingerprints=True)
    picked = [
        (Pick(i), modality.encode(Comparison(p, (Candidate(c, "chosen"), Candidate(r, "rejected")))))
        for i, (p, c, r) in enumerate(rows)
    ]
    return [collate(picked[start : start + size]) for start in range(0, len(picked), size)]


def prepared(reference: Reference, modality: Modality, policy, data=None) -> Reference:
    reference.prepare(ReferenceContext(modality, policy, batches=lambda: data or batches(modality)))
    return reference


def shift(policy: torch.nn.Module) -> None:
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.1)


@pytest.fixture
def policy() -> torch.nn.Module:
    torch.manual_seed(1)
    return Letters().load()


def test_frozen_is_the_model_in_memory_and_stays(policy: torch.nn.Module) -> None:
    modality = Letters()
    shift(policy)  # not what a second load would give
    batch = batches(modality)[0]
    expected = modality.likelihood(policy, batch, Needs()).logps
    reference = prepared(FrozenReference(), modality, policy)
    shift(policy)
    got = reference.likelihood(modality, policy, batch, Needs()).logps
    assert torch.equal(got, expected)
    assert not got.requires_grad
    assert not reference.model.training
    assert policy.training


def test_cached_equals_frozen_in_any_batch(tmp_path: Path, policy: torch.nn.Module) -> None:
    modality = Counting()
    cached = prepared(CachedReference(str(tmp_path / "c.sqlite")), modality, policy)
    frozen = prepared(FrozenReference(), modality, policy)
    shift(policy)
    for batch in batches(modality, list(reversed(ROWS)), size=3):
        before = modality._seen
        got = cached.likelihood(modality, policy, batch, Needs())
        assert modality._seen == before
        torch.testing.assert_close(got.logps, frozen.likelihood(modality, policy, batch, Needs()).logps)


def test_an_interrupted_pass_goes_on(tmp_path: Path, policy: torch.nn.Module) -> None:
    path = str(tmp_path / "c.sqlite")
    modality = Counting()

    def dies():
        yield batches(modality)[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CachedReference(path).prepare(ReferenceContext(modality, policy, batches=dies))
    assert modality._seen == 2
    prepared(CachedReference(path), modality, policy)
    assert modality._seen == 3, "only the missing row is computed"
    prepared(CachedReference(path), modality, policy)
    assert modality._seen == 3


def test_a_stale_cache_is_computed_anew(tmp_path: Path, policy: torch.nn.Module) -> None:
    path = str(tmp_path / "c.sqlite")
    modality = Counting()
    prepared(CachedReference(path), modality, policy)
    seen = modality._seen
    other = copy.deepcopy(policy)
    shift(other)
    prepared(CachedReference(path), modality, other)
    assert modality._seen == seen + 3, "other weights"
    modality.longest = 5
    prepared(CachedReference(path), modality, policy)
    assert modality._seen == seen + 6, "other options of the likelihood"
    changed = batches(modality, [("k", "ae", "bcx"), *ROWS[1:]])
    prepared(CachedReference(path), modality, policy, changed)
    assert modality._seen == seen + 8, "one row changed, and its batch is computed"


def test_a_row_that_was_not_cached(tmp_path: Path, policy: torch.nn.Module) -> None:
    modality = Letters()
    cached = prepared(CachedReference(str(tmp_path / "c.sqlite")), modality, policy)
    with pytest.raises(UserError, match=r"2 of 2[\s\S]*has its own[\s\S]*set model.reference.path[\s\S]*share"):
        cached.likelihood(modality, policy, batches(modality, [("z", "new", "row")])[0], Needs())


def test_not_a_cache(tmp_path: Path, policy: torch.nn.Module) -> None:
    path = tmp_path / "c.sqlite"
    path.write_text("something else entirely" * 100)
    with pytest.raises(UserError, match=r"c\.sqlite"):
        prepared(CachedReference(str(path)), Letters(), policy)


def test_moving_by_the_formula(policy: torch.nn.Module) -> None:
    modality = Letters()
    start = copy.deepcopy(policy)
    reference = prepared(MovingReference(every=3, mix=0.25), modality, policy)
    shift(policy)
    reference.step(policy, 2)
    assert torch.equal(reference.model.head.weight, start.head.weight)
    reference.step(policy, 3)
    expected = 0.75 * start.head.weight + 0.25 * policy.head.weight
    torch.testing.assert_close(reference.model.head.weight, expected)

    resumed = prepared(MovingReference(every=3, mix=0.25), modality, start)
    resumed.load_state_dict(reference.state_dict())
    assert content_hash(resumed.model.state_dict()) == content_hash(reference.model.state_dict())


def test_replacing(policy: torch.nn.Module) -> None:
    reference = prepared(MovingReference(every=1, mix=1.0), Letters(), policy)
    shift(policy)
    reference.step(policy, 1)
    assert torch.equal(reference.model.head.weight, policy.head.weight)


@pytest.mark.parametrize("options", [{"every": 0}, {"mix": 0.0}, {"mix": 1.5}])
def test_moving_refuses(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        MovingReference(**options)  # type: ignore[arg-type]


def test_adapter_needs_an_adapter(policy: torch.nn.Module) -> None:
    with pytest.raises(ConfigError, match="no adapter"):
        prepared(AdapterReference(), Letters(), policy)
