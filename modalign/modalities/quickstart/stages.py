"""One stage of training, run from the config that `modalign fit` would take."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch.optim import AdamW

from modalign.core.callbacks.run_folder import RunFolder
from modalign.core.data import PreferenceDataModule
from modalign.core.jsonl_logger import JsonlLogger
from modalign.core.model_card import model_card
from modalign.core.module import PreferenceModule
from modalign.core.schedule import Schedule
from modalign.modalities.diffusion.timesteps import Timesteps
from modalign.plugins.manager import registry

PARTS = {"other_image": "image_variant", "other_audio": "audio_variant"}
"""Options that are themselves built, and of which kind each is."""
TOGETHER = {"objectives": "objective"}
"""Options that are mappings of such things, and of which kind they are."""


@dataclass(frozen=True)
class Stage:
    """What one stage of training does.

    Attributes:
        objective: Its registered name.
        learning_rate: The peak, after a warm-up and before a cosine fall to 0.
        length: `max_epochs` or `max_steps`.
        batch_size: Rows a step.
        format: Of the rows: its registered name, or `class_path` and `init_args`.
        options: Of the objective.
        modality: Options of the modality that this stage adds.
    """

    objective: str
    learning_rate: float
    length: Mapping[str, int]
    batch_size: int
    format: str | Mapping[str, Any] = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    modality: Mapping[str, Any] = field(default_factory=dict)

    def config(self, modality: str, options: Mapping[str, Any], train: Path, folder: Path, seed: int) -> dict[str, Any]:
        """The stage as a config of `modalign fit`.

        Args:
            modality: Its registered name.
            options: Of the modality, the model where training starts among them.
            train: A file of rows.
            folder: Where the run is recorded.
            seed: Decides everything that is drawn.
        """
        rows = self.format if isinstance(self.format, str) else dict(self.format)
        optimizer = {"lr": self.learning_rate, "weight_decay": 0.01}
        return {
            "seed_everything": seed,
            "model": {
                "modality": {"class_path": modality, "init_args": {**options, **self.modality}},
                "objective": {"class_path": self.objective, "init_args": dict(self.options)},
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": optimizer},
                "schedule": {"shape": "cosine", "warmup_ratio": 0.1},
            },
            "data": {"train": str(train), "format": rows, "batch_size": self.batch_size},
            "trainer": {
                **self.length,
                "gradient_clip_val": 1.0,
                "accelerator": "cpu",
                "default_root_dir": str(folder),
            },
        }


def fit(config: Mapping[str, Any], callbacks: Sequence[Callback] = ()) -> PreferenceModule:
    """Train as `modalign fit` would with this config; what the trainer says goes to `log.txt` in the run's folder.

    Args:
        config: As `Stage.config` makes it.
        callbacks: Beside the record of the run.

    Returns:
        The module, which holds modality and trained policy.
    """
    model, data, trainer = config["model"], config["data"], config["trainer"]
    folder = Path(trainer["default_root_dir"])
    with log_to(folder / "log.txt"):
        seed_everything(config["seed_everything"], verbose=False)
        module = PreferenceModule(
            built("modality", model["modality"]),
            built("objective", model["objective"]),
            optimizer=partial(AdamW, **model["optimizer"]["init_args"]),
            schedule=Schedule(**model["schedule"]),
        )
        rows = PreferenceDataModule(**{**data, "format": built("format", data["format"])})
        Trainer(
            **trainer,
            callbacks=[RunFolder(dict(config)), *callbacks],
            logger=JsonlLogger(str(folder)),
            log_every_n_steps=10,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(module, datamodule=rows)
    return module


def built(kind: str, chosen: str | Mapping[str, Any]) -> Any:
    """A registered thing of a kind, from its name or from a mapping of `class_path` and `init_args`."""
    name, options = (chosen, {}) if isinstance(chosen, str) else (chosen["class_path"], chosen["init_args"])
    return registry().load(kind, name)(**{option: _built_option(option, value) for option, value in options.items()})


def _built_option(option: str, value: Any) -> Any:
    if option in PARTS:
        return built(PARTS[option], value)
    if option in TOGETHER:
        return {name: built(TOGETHER[option], each) for name, each in value.items()}
    return Timesteps(**value) if option == "timesteps" else value


def export(
    module: PreferenceModule, config: Mapping[str, Any], metrics: Mapping[str, float], title: str, folder: Path
) -> None:
    """Write the trained policy as its library's folder, with a card; what is said goes to `log.txt` beside it."""
    card = model_card(config, metrics, module.trainer.global_step, title, module.modality.library({}))
    with log_to(folder.parent / "log.txt"):
        module.modality.export(module.policy, folder, card)


def write_rows(rows: Iterable[Mapping[str, Any]], path: Path) -> Path:
    """Write JSON Lines; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    return path


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write results for machines."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """A context in which everything printed, warned of and shown as progress goes to the end of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lightning = logging.getLogger("lightning.pytorch")
    level = lightning.level
    # Its handler holds the real stderr, and tells at this level which accelerators there are.
    lightning.setLevel(logging.WARNING)
    try:
        with path.open("a", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
            yield
    finally:
        lightning.setLevel(level)


@contextmanager
def one_thread() -> Iterator[None]:
    """A context in which torch computes with one thread: the model is so small that more would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
