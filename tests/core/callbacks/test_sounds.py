"""Sounds of a run, base beside policy, in TensorBoard and in loggers with a `log_audio` like that of W&B."""

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from modalign.core.callbacks.samples import SampleLog
from modalign.core.callbacks.sounds import log_sounds
from modalign.plugins.samplers.single import Single
from tests.core.callbacks.fitting import fit, make_module
from tests.drawings import Drawings, opened

RATE = 8000


class Hums(Drawings):
    """A square sounds the louder the lighter it is, to the right only."""

    def sound(self, response: Any) -> tuple[Tensor, int]:
        level = opened(response).getpixel((0, 0))[0] / 255
        return torch.stack([torch.zeros(40), torch.full((40,), level)]), RATE


class Gallery(Logger):
    name, version = "gallery", "0"

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def log_audio(self, key: str, audios: list[Any], step: int | None = None, **lists: list[Any]) -> None:
        self.seen.append({"key": key, "audios": audios, "step": step, **lists})

    def log_metrics(self, *args: Any, **options: Any) -> None: ...
    def log_hyperparams(self, *args: Any, **options: Any) -> None: ...


def run(root: Path, modality: Drawings, *loggers: Logger) -> None:
    callback = SampleLog(Single({"steps": 3}), prompts=2)
    fit(
        root,
        module=make_module(modality),
        data={"validation_rows": 6},
        callbacks=[callback],
        logger=list(loggers),
        max_epochs=2,
    )


def test_policy_at_every_validation_and_base_once(tmp_path: Path) -> None:
    gallery, board = Gallery(), TensorBoardLogger(tmp_path / "board")
    run(tmp_path, Hums(), gallery, board)
    first, second = gallery.seen
    assert (first["key"], first["step"], second["step"]) == ("samples", 3, 6)
    assert first["caption"] == ["000/base", "000/policy", "001/base", "001/policy"]
    assert second["caption"] == ["000/policy", "001/policy"]
    assert first["sample_rate"] == [RATE] * 4
    assert {audio.shape for audio in first["audios"]} == {(40, 2)}  # frames first, as W&B wants them

    events = EventAccumulator(board.log_dir, size_guidance={"audio": 0}).Reload()
    assert sorted(events.Tags()["audio"]) == [
        "samples/000/base",
        "samples/000/policy",
        "samples/001/base",
        "samples/001/policy",
    ]
    heard = {tag: events.Audio(tag) for tag in events.Tags()["audio"]}
    assert [event.step for event in heard["samples/000/policy"]] == [3, 6]
    assert [event.step for event in heard["samples/000/base"]] == [3]
    for tag, audio in zip(sorted(heard), first["audios"], strict=True):
        with wave.open(io.BytesIO(heard[tag][0].encoded_audio_string)) as file:
            assert (file.getframerate(), file.getnchannels()) == (RATE, 1)
            played = np.frombuffer(file.readframes(99), "<i2") / 32767
        np.testing.assert_allclose(played, audio.mean(1), atol=1e-4)


def test_what_makes_no_sound_logs_none(tmp_path: Path) -> None:
    gallery = Gallery()
    run(tmp_path, Drawings(), gallery)
    assert gallery.seen == []


def test_beyond_full_scale_is_clipped_not_wrapped() -> None:
    gallery = Gallery()
    log_sounds([gallery], "loud", {"one": (torch.tensor([[0.5, 1.5, -2.0]]), RATE)}, 1)
    assert gallery.seen[0]["audios"][0][:, 0].tolist() == [0.5, 1.0, -1.0]
