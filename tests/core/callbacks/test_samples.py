"""Samples of a run: files, rewards and contact sheets beside those from before training."""

import json
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import seed_everything
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from PIL import Image

from modalign.core.callbacks.checkpoint import ResumeCheckpoint, newest_checkpoint
from modalign.core.callbacks.samples import SampleLog
from modalign.core.checkpoint_io import AtomicCheckpointIO
from modalign.core.errors import ConfigError, UserError
from modalign.core.jsonl_logger import JsonlLogger
from modalign.core.response_files import read_rows
from modalign.plugins.rewards.length import Length
from modalign.plugins.samplers.best_of_n import BestOfN
from modalign.plugins.samplers.single import Single
from tests.core.callbacks.fitting import fit, make_module
from tests.drawings import SIDE, Drawings, Lightness
from tests.toy import Letters


def log(**options: Any) -> SampleLog:
    return SampleLog(Single({"steps": 3}), {"lightness": Lightness()}, prompts=4, **options)


def run(root: Path, callback: SampleLog, **settings: Any) -> Any:
    return fit(root, module=make_module(Drawings()), data={"validation_rows": 6}, callbacks=[callback], **settings)


def metrics(root: Path) -> dict[str, float]:
    rows = [json.loads(line) for line in (root / "metrics.jsonl").read_text().splitlines()]
    return next(row for row in rows if "val/samples/lightness" in row)


def test_files_rows_rewards_and_the_sheet(tmp_path: Path) -> None:
    run(tmp_path, log())
    folder = tmp_path / "samples"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    pictures = {f"{step}/00{number}.png" for step in ("base", "step-0000003") for number in range(4)}
    assert names == pictures | {"base.jsonl", "step-0000003.jsonl", "step-0000003.png"}
    before, after = (read_rows(folder / f"{name}.jsonl") for name in ("base", "step-0000003"))
    assert [row["prompt"] for row in before] == [row["prompt"] for row in after]
    assert [row["file"] for row in after] == [f"step-0000003/00{number}.png" for number in range(4)]
    sheet = Image.open(folder / "step-0000003.png")
    assert sheet.size == (2 * SIDE, 4 * SIDE)
    for column, rows in enumerate((before, after)):
        for number, row in enumerate(rows):
            assert sheet.getpixel((SIDE * column, SIDE * number))[0] == row["lightness"]
            assert Image.open(folder / row["file"]).getpixel((0, 0))[0] == row["lightness"]
    logged = metrics(tmp_path)
    assert logged["step"] == 3
    assert logged["val/samples/base/lightness"] == pytest.approx(sum(row["lightness"] for row in before) / 4)
    assert logged["val/samples/lightness"] == pytest.approx(sum(row["lightness"] for row in after) / 4)
    assert logged["val/samples/lightness"] != logged["val/samples/base/lightness"]


def test_base_can_be_off(tmp_path: Path) -> None:
    run(tmp_path, log(base=False))
    assert not (tmp_path / "samples" / "base.jsonl").exists()
    assert Image.open(tmp_path / "samples" / "step-0000003.png").size == (SIDE, 4 * SIDE)
    assert "val/samples/base/lightness" not in metrics(tmp_path)


def resumable(root: Path, epochs: int, resume: Path | None = None) -> None:
    """As `fit`, but able to go on."""
    from lightning.pytorch import Trainer

    from modalign import PreferenceDataModule
    from tests.toy import Pairs, write_pairs

    seed_everything(5, verbose=False)
    rows = write_pairs(root / "pairs.jsonl", rows=24)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=JsonlLogger(str(root)),
        default_root_dir=root,
        callbacks=[log(), ResumeCheckpoint(every_n_steps=3, keep=9)],
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    data = PreferenceDataModule(Pairs(), train=str(rows), batch_size=6, validation_rows=6)
    trainer.fit(make_module(Drawings()), data, ckpt_path=resume)


def test_a_continued_run_keeps_what_came_before_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resumable(tmp_path, 1)
    base = (tmp_path / "samples" / "base.jsonl").read_text()
    resumable(tmp_path, 2, newest_checkpoint(tmp_path))
    assert (tmp_path / "samples" / "base.jsonl").read_text() == base
    one, two = (Image.open(tmp_path / "samples" / f"step-000000{step}.png") for step in (3, 6))
    assert two.crop((0, 0, SIDE, 4 * SIDE)).tobytes() == one.crop((0, 0, SIDE, 4 * SIDE)).tobytes()
    capsys.readouterr()
    (tmp_path / "samples" / "base.jsonl").unlink()
    resumable(tmp_path, 3, newest_checkpoint(tmp_path))
    assert "no samples of these prompts from before training" in capsys.readouterr().out
    assert Image.open(tmp_path / "samples" / "step-0000009.png").size == (SIDE, 4 * SIDE)


def test_text_keeps_its_responses_in_the_rows(tmp_path: Path) -> None:
    fit(tmp_path, data={"validation_rows": 6}, callbacks=[SampleLog(Single(), prompts=2)])
    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names == ["base.jsonl", "step-0000003.jsonl"]
    assert [row["response"] for row in read_rows(tmp_path / "samples" / "base.jsonl")] == ["a", "a"]


def test_tensorboard_and_loggers_like_wandb_get_the_sheet(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    class Gallery(Logger):
        name, version = "gallery", "0"

        def __init__(self) -> None:
            self.seen: list[tuple[str, Any, int]] = []

        def log_image(self, key: str, images: list[Any], step: int | None = None) -> None:
            self.seen.append((key, images, step))  # type: ignore[arg-type]

        def log_metrics(self, *args: Any, **options: Any) -> None: ...
        def log_hyperparams(self, *args: Any, **options: Any) -> None: ...

    gallery, board = Gallery(), TensorBoardLogger(tmp_path / "board")
    run(tmp_path, log(), logger=[gallery, board])
    ((key, (picture,), step),) = gallery.seen
    assert (key, step, picture.size) == ("samples", 3, (2 * SIDE, 4 * SIDE))
    events = EventAccumulator(board.log_dir, size_guidance={"images": 0}).Reload()
    (shown,) = events.Images("samples")
    assert (shown.step, shown.width, shown.height) == (3, 2 * SIDE, 4 * SIDE)


@pytest.mark.parametrize(
    ("modality", "sampler", "message"),
    [
        (Drawings, Single({"stepts": 3}), "no option 'stepts'"),
        (Drawings, BestOfN(Lightness(), options={"stepts": 3}), "no option 'stepts'"),
        (Letters, BestOfN(Lightness()), "'lightness' judges drawings, not letters"),
    ],
)
def test_what_sampling_would_refuse_is_told_before_training(
    tmp_path: Path, modality: type[Letters], sampler: Any, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        fit(tmp_path, module=make_module(modality()), data={"validation_rows": 6}, callbacks=[SampleLog(sampler)])
    assert not (tmp_path / "metrics.jsonl").exists()


@pytest.mark.parametrize("base", [True, False])
def test_prompts_that_a_reward_does_not_judge_are_told_before_anything_is_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: bool
) -> None:
    def refuse(self: Lightness, prompts: Any) -> None:
        assert len(prompts) == 4
        raise UserError("no picture is that dark")

    monkeypatch.setattr(Lightness, "check_prompts", refuse)
    with pytest.raises(UserError, match="no picture is that dark"):
        run(tmp_path, log(base=base))
    assert not (tmp_path / "samples").exists()
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_modality_that_does_not_sample_is_told_before_training(tmp_path: Path) -> None:
    class Mute(Letters):
        sample = Letters.__mro__[1].sample  # type: ignore[attr-defined,assignment]

    with pytest.raises(UserError, match="has no sampling"):
        fit(tmp_path, module=make_module(Mute()), data={"validation_rows": 6}, callbacks=[SampleLog(Single())])


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="prompts is 0"):
        SampleLog(Single(), prompts=0)
    with pytest.raises(ConfigError, match="cannot be called 'base'"):
        SampleLog(Single(), {"base": Length(3)})


def test_a_torn_last_row_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n{"a": "\u2028"}\n{"a": ')
    assert read_rows(tmp_path / "rows.jsonl") == [{"a": 1}, {"a": "\u2028"}]
    assert read_rows(tmp_path / "none.jsonl") == []
