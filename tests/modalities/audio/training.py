"""Files of tiny pairs and lists of sounds, and short runs on them by the real trainer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch import Tensor

from modalign import PreferenceDataModule, PreferenceModule
from modalign.core.jsonl_logger import JsonlLogger
from modalign.core.objectives.base import Objective
from modalign.core.reference import Reference
from modalign.core.schedule import Schedule
from modalign.modalities.audio.formats.audio_pairs import AudioPairs
from modalign.modalities.audio.formats.audio_ranked import AudioRanked
from modalign.modalities.audio.formats.audio_thumbs import AudioThumbs
from modalign.modalities.audio.modality import Audio
from tests.sounds import EVENTS, caption, pairs_file, save, sequence, write_jsonl

RATE = 8000
EVENT = 0.08  # seconds; two of them are longer than a tiny model's window


def write_pairs(folder: Path, rows: int) -> Path:
    return pairs_file(folder, rows, EVENT, RATE)


def write_lists(folder: Path, lengths: Sequence[int]) -> Path:
    """Lists of sounds, the first of each the best."""
    rows = []
    for row, length in enumerate(lengths):
        names = [f"sounds/list{row}-{number}.wav" for number in range(length)]
        for number, name in enumerate(names):
            save(sequence((EVENTS[row % 4], EVENTS[(row + number + 1) % 4]), EVENT, RATE, seed=row), folder / name)
        prompt = caption((EVENTS[row % 4], EVENTS[(row + 1) % 4]))
        rows.append({"prompt": prompt, "audios": names, "scores": [float(-number) for number in range(length)]})
    return write_jsonl(folder / "lists.jsonl", rows)


def write_thumbs(folder: Path, rows: int) -> Path:
    """Single sounds, good and bad in turn: in the caption's order, and in the other one."""
    sounds = []
    for row in range(rows):
        names = (EVENTS[row // 2 % 4], EVENTS[(row // 2 + 1) % 4])
        name = f"sounds/thumb{row}.wav"
        save(sequence(names[:: -1 if row % 2 else 1], EVENT, RATE, seed=row), folder / name)
        sounds.append({"prompt": caption(names), "audio": name, "label": row % 2 == 0})
    return write_jsonl(folder / "thumbs.jsonl", sounds)


def double(folder: Path, **options: Any) -> Audio:
    """The modality in float64 throughout."""
    fixed = {"dtype": "float64", "encoder_dtype": "float64", "cache": "off", "cache_dtype": "float64"}
    return Audio(str(folder), **{**fixed, **options})


def data_of(file: Path, **options: Any) -> PreferenceDataModule:
    formats = {"lists": AudioRanked(pairs="none"), "thumbs": AudioThumbs()}
    return PreferenceDataModule(formats.get(file.stem, AudioPairs()), train=str(file), **options)


def train(
    modality: Audio,
    file: Path,
    objective: Objective,
    batch_size: int = 4,
    learning_rate: float = 0.02,
    callbacks: Sequence[Callback] = (),
    data: dict[str, Any] | None = None,
    reference: Reference | None = None,
    **trainer: Any,
) -> PreferenceModule:
    """By SGD at a constant rate; the trained module."""
    seed_everything(7, verbose=False)
    module = PreferenceModule(
        modality,
        objective,
        reference,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=learning_rate),
        schedule=Schedule("constant"),
    )
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": JsonlLogger(str(file.parent)),
        "log_every_n_steps": 1,
        "callbacks": list(callbacks),
        "default_root_dir": file.parent,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "num_sanity_val_steps": 0,
        **trainer,
    }
    Trainer(**settings).fit(module, data_of(file, batch_size=batch_size, **(data or {})))
    return module


def weights(module: PreferenceModule) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.policy.state_dict().items()}
