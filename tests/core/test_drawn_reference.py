"""A cached reference of a modality that draws: every epoch has its own values, and they are those of a live one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything

from modalign import PreferenceDataModule, PreferenceModule
from modalign.core.batch import Likelihood
from modalign.core.callbacks.checkpoint import ResumeCheckpoint, checkpoint_folder
from modalign.core.checkpoint_io import AtomicCheckpointIO
from modalign.core.errors import ConfigError
from modalign.core.keys import generator, run_seed
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.pointwise import Kto
from modalign.core.reference import CachedReference, FrozenReference, Reference
from modalign.core.schedule import Schedule
from tests.toy import Letters, Pairs, write_pairs

ROWS = 7


class Drawn(Letters):
    """Letters whose likelihood is scaled by what is drawn for a row and epoch; it notes what it was asked."""

    def __init__(self, cycle: int | None = None) -> None:
        super().__init__()
        self.cycle = cycle
        self._asked: list[tuple[int, int, bool]] = []

    @property
    def draw_cycle(self) -> int | None:
        return self.cycle

    def draw_key(self, index: int, epoch: int) -> tuple[int | str, ...]:
        return (run_seed(), epoch % self.cycle if self.cycle else epoch, index)

    def likelihood(self, model, batch, needs) -> Likelihood:
        rows = batch.index.tolist()
        self._asked += [(batch.epoch, row, torch.is_grad_enabled()) for row in rows]
        # One cell at a time and without padding, so that its value is the same to the bit in whatever batch it comes.
        logps = []
        for ids, real in zip(batch.inputs["ids"], batch.inputs["real"], strict=True):
            letters = ids[: int(real.sum()) + 1]
            logps.append(model(letters[:-1]).log_softmax(-1).gather(-1, letters[1:, None]).sum())
        scales = [torch.rand((), generator=generator(*self.draw_key(row, batch.epoch), "scale")) for row in rows]
        return Likelihood(batch.scatter(torch.stack(logps)) * torch.stack(scales)[:, None], batch.sizes)

    def trained_on(self) -> list[tuple[int, int]]:
        """What was computed with gradient: (epoch, row), by the draws' epoch."""
        cycle = self.cycle
        return sorted({(epoch % cycle if cycle else epoch, row) for epoch, row, grad in self._asked if grad})

    def reference_passes(self) -> list[tuple[int, int]]:
        """What was computed without gradient: (epoch, row)."""
        return sorted((epoch, row) for epoch, row, grad in self._asked if not grad)


def fit(
    data: Path,
    root: Path,
    modality: Drawn,
    reference: Reference | None,
    resume: Path | None = None,
    objective: Any = None,
    data_options: dict[str, Any] | None = None,
    **limits: Any,
) -> dict[str, torch.Tensor]:
    seed_everything(3, verbose=False)
    module = PreferenceModule(
        modality,
        objective or Dpo(beta=0.5),
        reference,
        optimizer=lambda p: torch.optim.AdamW(p, lr=0.02),
        schedule=Schedule("constant"),
    )
    trainer = Trainer(
        **({"max_epochs": 3} | limits),
        accelerator="cpu",
        logger=False,
        default_root_dir=root,
        callbacks=[ResumeCheckpoint(2, keep=99)],
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    options = {"batch_size": 2, **(data_options or {})}
    trainer.fit(module, PreferenceDataModule(Pairs(), train=str(data), **options), ckpt_path=resume)
    return {name: value.clone() for name, value in module.policy.state_dict().items()}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "pairs.jsonl", ROWS)


def cached(tmp_path: Path) -> CachedReference:
    return CachedReference(str(tmp_path / "cache.sqlite"))


def assert_equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


@pytest.mark.parametrize("cycle", [None, 2])
@pytest.mark.parametrize("objective", [Dpo, Kto])
def test_equals_a_live_reference_to_the_bit(tmp_path: Path, data: Path, cycle: int | None, objective: Any) -> None:
    got = fit(data, tmp_path / "cached", Drawn(cycle), cached(tmp_path), objective=objective(beta=0.5))
    expected = fit(data, tmp_path / "frozen", Drawn(cycle), FrozenReference(), objective=objective(beta=0.5))
    assert_equal(got, expected)
    once = fit(data, tmp_path / "once", Drawn(1), FrozenReference(), objective=objective(beta=0.5))
    assert not torch.equal(got["head.weight"], once["head.weight"]), "epochs must differ"


@pytest.mark.parametrize(("cycle", "passes"), [(None, 3), (2, 2), (1, 1), (5, 3)])
def test_one_pass_for_each_epoch_that_differs(tmp_path: Path, data: Path, cycle: int | None, passes: int) -> None:
    modality = Drawn(cycle)
    fit(data, tmp_path / "run", modality, cached(tmp_path))
    assert modality.reference_passes() == [(epoch, row) for epoch in range(passes) for row in range(ROWS)]


def test_validation_is_read_once(tmp_path: Path, data: Path) -> None:
    validation = write_pairs(tmp_path / "validation.jsonl", rows=2, seed=5)
    modality = Drawn()
    fit(data, tmp_path / "run", modality, cached(tmp_path), data_options={"validation": str(validation)})
    ahead = modality.reference_passes()
    # Each of three epochs ends in a validation by the policy, without gradient too.
    assert len(ahead) == 3 * ROWS + 2 + 3 * 2


def test_a_second_run_and_a_resumed_one_compute_nothing(tmp_path: Path, data: Path) -> None:
    straight = fit(data, tmp_path / "run", Drawn(), cached(tmp_path))
    second = Drawn()
    assert_equal(fit(data, tmp_path / "second", second, cached(tmp_path)), straight)
    assert not second.reference_passes()
    resumed = Drawn()
    first = sorted(checkpoint_folder(tmp_path / "run").iterdir())[0]
    (tmp_path / "resumed").mkdir()
    assert_equal(fit(data, tmp_path / "resumed", resumed, cached(tmp_path), first), straight)
    assert not resumed.reference_passes()


def test_a_longer_run_computes_the_new_epochs_only(tmp_path: Path, data: Path) -> None:
    fit(data, tmp_path / "short", Drawn(), cached(tmp_path), max_epochs=2)
    modality = Drawn()
    fit(data, tmp_path / "long", modality, cached(tmp_path), max_epochs=4)
    assert modality.reference_passes() == [(epoch, row) for epoch in (2, 3) for row in range(ROWS)]


@pytest.mark.parametrize("cycle", [None, 1, 2])
@pytest.mark.parametrize(
    ("limits", "epochs"),
    [
        ({"max_steps": 3}, 1),  # 4 batches an epoch
        ({"max_steps": 8}, 2),
        ({"max_steps": 9}, 3),
        ({"max_steps": 4, "max_epochs": 100}, 1),
        ({"max_steps": 100, "max_epochs": 2}, 2),
        ({"max_steps": 1, "accumulate_grad_batches": 2}, 1),
        ({"max_steps": 3, "accumulate_grad_batches": 3}, 2),  # windows of 3 and 1: 2 steps an epoch
        ({"max_steps": 3, "limit_train_batches": 1}, 3),
        ({"max_steps": 3, "limit_train_batches": 0.5}, 2),
        ({"max_steps": 3, "limit_train_batches": 3, "accumulate_grad_batches": 2}, 2),
        ({"max_epochs": 2, "limit_train_batches": 2}, 2),
    ],
)
def test_it_reads_exactly_what_the_run_trains_on(
    tmp_path: Path, data: Path, cycle: int | None, limits: dict[str, Any], epochs: int
) -> None:
    modality = Drawn(cycle)
    limits = {"max_epochs": -1} | limits
    got = fit(data, tmp_path / "run", modality, cached(tmp_path), **limits)
    assert max(epoch for epoch, _, grad in modality._asked if grad) == epochs - 1, "what Lightning trained"
    assert modality.reference_passes() == modality.trained_on()
    assert_equal(got, fit(data, tmp_path / "frozen", Drawn(cycle), FrozenReference(), **limits))


@pytest.mark.parametrize("cycle", [None, 1])
def test_a_run_prolonged_within_its_epoch_computes_the_rest(tmp_path: Path, data: Path, cycle: int | None) -> None:
    short, modality, straight = Drawn(cycle), Drawn(cycle), Drawn(cycle)
    fit(data, tmp_path / "run", short, cached(tmp_path), max_epochs=-1, max_steps=2)
    last = sorted(checkpoint_folder(tmp_path / "run").iterdir())[-1]
    got = fit(data, tmp_path / "long", modality, cached(tmp_path), last, max_epochs=-1, max_steps=6)
    assert_equal(got, fit(data, tmp_path / "straight", straight, FrozenReference(), max_epochs=-1, max_steps=6))
    assert modality.reference_passes() == sorted(set(straight.trained_on()) - set(short.trained_on()))


def test_it_says_how_often_it_reads(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(data, tmp_path / "run", Drawn(), cached(tmp_path))
    assert "reads 3 epochs of the training data ahead" in capsys.readouterr().out
    fit(data, tmp_path / "one", Drawn(1), cached(tmp_path))
    assert "of the training data ahead" not in capsys.readouterr().out


def test_a_run_without_end_and_a_stream_are_refused(tmp_path: Path, data: Path) -> None:
    with pytest.raises(ConfigError, match="how many epochs"):
        fit(data, tmp_path, Drawn(), cached(tmp_path), max_epochs=-1)
    with pytest.raises(ConfigError, match="cannot read a stream ahead"):
        fit(data, tmp_path, Drawn(), cached(tmp_path), data_options={"streaming": True}, max_epochs=-1, max_steps=3)
