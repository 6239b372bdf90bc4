"""The moving average of weights: its values, who sees it, what checkpoints hold, exact resumption."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch import Tensor, nn

from modalign import PreferenceDataModule
from modalign.core.callbacks.checkpoint import ResumeCheckpoint, checkpoint_folder, newest_checkpoint
from modalign.core.callbacks.ema import Ema, average_in
from modalign.core.callbacks.export import Export
from modalign.core.checkpoint_io import AtomicCheckpointIO
from modalign.core.errors import ConfigError
from modalign.core.jsonl_logger import JsonlLogger
from tests.core.callbacks.fitting import make_module
from tests.resuming import assert_identical, outcome
from tests.toy import Letters, Pairs, write_pairs


def trained(policy: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in policy.named_parameters() if p.requires_grad}


class Watch(Callback):
    """Remembers the weights after every step, and those that validation saw when it began and when it had ended."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []
        self.validated: list[tuple[int, dict[str, Tensor], dict[str, Tensor]]] = []

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.steps.append(trained(pl_module.policy))

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *rest: Any) -> None:
        if trainer.global_step == len(self.steps):
            self.steps.append(trained(pl_module.policy))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._during = trained(pl_module.policy)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.validated.append((trainer.global_step, self._during, trained(pl_module.policy)))

    def average(self, step: int, decay: float, every: int = 1, start: int = 0) -> dict[str, Tensor]:
        """What the average must be after so many steps, by the definition, in float64."""
        average = {name: value.double() for name, value in self.steps[0].items()}
        for number, weights in enumerate(self.steps[1 : step + 1], start=1):
            if number <= start:
                average = {name: value.double() for name, value in weights.items()}
            elif number % every == 0:
                average = {
                    name: decay * average[name] + (1 - decay) * value.double() for name, value in weights.items()
                }
        return average


def fit(root: Path, *callbacks: Callback, resume: Path | None = None, epochs: int = 2, **settings: Any) -> Any:
    """Ten batches an epoch, five steps, validation after four batches and eight."""
    seed_everything(11, verbose=False)
    root.mkdir(exist_ok=True)
    rows = write_pairs(root / "pairs.jsonl", rows=36)
    module = make_module(settings.pop("modality", None) or Letters(dropout=0.2))
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        accumulate_grad_batches=2,
        val_check_interval=4,
        logger=JsonlLogger(str(root)),
        default_root_dir=root,
        callbacks=[*callbacks, ResumeCheckpoint(every_n_steps=3, keep=99)],
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        **settings,
    )
    trainer.fit(
        module, PreferenceDataModule(Pairs(), train=str(rows), batch_size=3, validation_rows=6), ckpt_path=resume
    )
    return module


def assert_near(actual: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-6) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(actual[name].double(), value.double(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("options", [{}, {"every": 2}, {"start": 3}, {"every": 3, "start": 2}])
def test_validation_and_the_end_see_the_average_and_training_does_not(tmp_path: Path, options: dict[str, int]) -> None:
    plain, watch = Watch(), Watch()
    fit(tmp_path / "plain", plain)
    module = fit(tmp_path / "ema", Ema(0.7, **options), watch)
    for one, other in zip(plain.steps, watch.steps, strict=True):
        assert_identical(one, other)
    assert len(watch.validated) == 4
    for step, during, after in watch.validated:
        assert_near(during, watch.average(step, 0.7, **options))
        assert_identical(during, after)
        assert not torch.equal(during["head.weight"], watch.steps[step]["head.weight"]) or step <= options.get(
            "start", 0
        )
    assert_near(trained(module.policy), watch.average(10, 0.7, **options))


def test_checkpoints_hold_the_weights_and_the_average(tmp_path: Path) -> None:
    watch = Watch()
    fit(tmp_path, Ema(0.7), watch)
    for path in checkpoint_folder(tmp_path).iterdir():
        saved = torch.load(path, weights_only=True)
        step = saved["global_step"]
        weights = {name.removeprefix("policy."): value for name, value in saved["state_dict"].items()}
        assert_identical({name: weights[name] for name in watch.steps[step]}, watch.steps[step])
        average = average_in(saved)
        assert average is not None
        assert "frozen" not in average
        assert_near(average, watch.average(step, 0.7))


def test_a_checkpoint_written_during_validation_holds_the_weights(tmp_path: Path) -> None:
    class Stop(Callback):
        def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
            trainer.should_stop = True

    watch = Watch()
    fit(tmp_path, Stop(), Ema(0.7), watch)
    saved = torch.load(newest_checkpoint(tmp_path), weights_only=True)
    assert saved["global_step"] == 2
    assert torch.equal(saved["state_dict"]["policy.head.weight"], watch.steps[2]["head.weight"])


def test_resumed_equals_straight(tmp_path: Path) -> None:
    fit(tmp_path / "straight", Ema(0.7, every=2, start=1))
    first = sorted(checkpoint_folder(tmp_path / "straight").iterdir())[0]
    resumed = tmp_path / "resumed"
    resumed.mkdir()
    (resumed / "metrics.jsonl").write_bytes((tmp_path / "straight" / "metrics.jsonl").read_bytes())
    fit(resumed, Ema(0.7, every=2, start=1), resume=first)
    assert_identical(outcome(resumed), outcome(tmp_path / "straight"))
    one, other = (
        average_in(torch.load(newest_checkpoint(tmp_path / n), weights_only=True)) for n in ("straight", "resumed")
    )
    assert_identical(one, other)


def test_the_average_begins_where_a_run_without_one_ended(tmp_path: Path) -> None:
    fit(tmp_path, epochs=1)
    watch = Watch()
    watch.steps = [{}] * 5
    module = fit(tmp_path, Ema(0.5), watch, resume=newest_checkpoint(tmp_path))
    watch.steps = watch.steps[5:]
    assert_near(trained(module.policy), watch.average(5, 0.5))


@pytest.mark.parametrize("evaluate", [True, False])
def test_the_export_takes_the_average_if_told_to(tmp_path: Path, evaluate: bool) -> None:
    watch = Watch()
    fit(tmp_path, Ema(0.7, evaluate=evaluate), watch, Export())
    written = torch.load(tmp_path / "export" / "weights.pt")
    expected = watch.average(10, 0.7) if evaluate else watch.steps[10]
    assert_near({name: written[name] for name in expected}, expected)
    assert torch.equal(written["frozen"], torch.ones(3))
    validated = watch.validated[-1]
    assert torch.equal(validated[1]["head.weight"], watch.steps[validated[0]]["head.weight"]) != evaluate


def test_validation_of_a_checkpoint_takes_the_average(tmp_path: Path) -> None:
    watch = Watch()
    fit(tmp_path, Ema(0.7), watch)
    module, rows = make_module(), str(tmp_path / "pairs.jsonl")
    settings = {"logger": False, "enable_progress_bar": False, "default_root_dir": tmp_path}
    trainer = Trainer(accelerator="cpu", callbacks=[Ema(0.7)], plugins=[AtomicCheckpointIO()], **settings)
    trainer.validate(module, PreferenceDataModule(Pairs(), validation=rows), ckpt_path=newest_checkpoint(tmp_path))
    assert_near(trained(module.policy), watch.average(10, 0.7))


def test_narrow_weights_have_a_wide_average(tmp_path: Path) -> None:
    """In bfloat16 itself, a decay of 0.999 would never move it."""

    class Narrow(Letters):
        def load(self, model: str | None = None) -> nn.Module:
            return super().load(model).bfloat16()

    watch = Watch()
    fit(tmp_path, Ema(0.999), watch, modality=Narrow())
    average = average_in(torch.load(newest_checkpoint(tmp_path), weights_only=True))
    assert average is not None
    assert {value.dtype for value in average.values()} == {torch.float32}
    assert_near(average, watch.average(10, 0.999))
    assert not torch.equal(average["head.weight"].bfloat16().float(), average["head.weight"])


def test_a_checkpoint_without_an_average_says_so() -> None:
    assert average_in({"callbacks": {}}) is None
    assert average_in({}) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decay": 1.0}, "decay is 1.0"),
        ({"decay": -0.1}, "decay is -0.1"),
        ({"every": 0}, "every is 0"),
        ({"start": -1}, "start -1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Ema(**options)
