"""The data module: rows become comparisons, comparisons become batches, and a resumed run continues where it stood."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_only

from modalign.core.batch import EVALUATION, Comparison, PreferenceBatch
from modalign.core.data_report import DataReport
from modalign.core.dataset import split_rows
from modalign.core.errors import ConfigError
from modalign.core.format import Format
from modalign.core.keys import run_seed
from modalign.core.loader import BatchLoader, Collate, Numbered, Position, SizedBatchLoader, map_batches
from modalign.core.modality import Modality
from modalign.core.objectives.base import Objective
from modalign.core.order import BatchOrder
from modalign.core.reading import Reading
from modalign.core.run_length import ENDLESS, RunLength
from modalign.core.seen import drawn_epochs, drawn_rows, seen_rows
from modalign.core.selection import Comparisons, Selection
from modalign.core.stream import ComparisonStream, stream_batches


class PreferenceDataModule(LightningDataModule):
    """Preference data of any schema, from files, folders or the hub.

    Args:
        train: Files, folders or hub ids to train on.
        validation: What to validate on; empty for none.
        test: What `test` and `predict` run on; the validation data where empty.
        format: The schema of the rows.
        split: The split of a hub data set to train on.
        validation_split: The split of a hub data set to validate and test on.
        config_name: The configuration of a hub data set.
        validation_rows: Hold this many comparisons of the training data out for validation, where `validation` is
            empty. Comparisons with the same prompt stay on the same side.
        batch_size: Comparisons a batch on each rank.
        validation_batch_size: The same in validation, test and prediction; `batch_size` where None.
        shuffle: Whether every epoch has an order of its own.
        on_bad_row: `error` refuses data with unusable rows, listing them; `skip` leaves them out, and counts and lists
            them.
        max_rows: Read only this many rows.
        streaming: Read the training data as a stream, without knowing its length: rows are checked as they come.
        shuffle_buffer: How many rows of a stream are shuffled among each other.
        workers: Data worker processes.
    """

    _modality: Modality
    _objective: Objective

    def __init__(
        self,
        format: Format,
        train: str | list[str] = "",
        validation: str | list[str] = "",
        test: str | list[str] = "",
        split: str = "train",
        validation_split: str = "test",
        config_name: str | None = None,
        validation_rows: int = 0,
        batch_size: int = 8,
        validation_batch_size: int | None = None,
        shuffle: bool = True,
        on_bad_row: Literal["error", "skip"] = "error",
        max_rows: int | None = None,
        streaming: bool = False,
        shuffle_buffer: int = 1000,
        workers: int = 0,
    ) -> None:
        super().__init__()
        _at_least(0, validation_rows=validation_rows, workers=workers)
        _at_least(1, batch_size=batch_size, validation_batch_size=validation_batch_size)
        _at_least(1, shuffle_buffer=shuffle_buffer, max_rows=max_rows)
        if streaming and validation_rows:
            raise ConfigError(
                "data.validation_rows cannot be held out of a stream.", "Give a data.validation file instead."
            )
        if validation and validation_rows:
            raise ConfigError(
                f"data.validation is given, and data.validation_rows is {validation_rows}.",
                "Validation data is read or held out: set data.validation_rows: 0, or leave data.validation out.",
            )
        self.format = format
        self.paths = {"train": _listed(train), "validation": _listed(validation), "test": _listed(test)}
        self.splits = {"train": split, "validation": validation_split, "test": validation_split}
        self.config_name = config_name
        self.validation_rows = validation_rows
        self.batch_size = batch_size
        self.validation_batch_size = validation_batch_size or batch_size
        self.shuffle = shuffle
        self.on_bad_row = on_bad_row
        self.max_rows = max_rows
        self.streaming = streaming
        self.shuffle_buffer = shuffle_buffer
        self.workers = workers
        self.reports: dict[str, DataReport] = {}
        self._told: set[str] = set()
        self.position = Position()
        self._fingerprints = False
        self._probed = 0
        self._sets: dict[str, Selection | ComparisonStream] = {}

    def connect(self, modality: Modality, objective: Objective) -> None:
        """Tell the data who encodes it and what it is for. `setup` does this with the trainer's own module.

        Raises:
            ConfigError: The objective needs more than one row a batch.
        """
        for name in ("batch_size", "validation_batch_size") if objective.couples_batch else ():
            if getattr(self, name) < 2:
                raise ConfigError(
                    f"{type(objective).__name__} estimates a mean over its batch, and data.{name} is 1.",
                    "Give at least 2; gradient accumulation does not count.",
                )
        self._modality = modality
        self._objective = objective

    def setup(self, stage: str) -> None:
        if not hasattr(self, "_modality"):
            module = self.trainer.lightning_module
            self.connect(module.modality, module.objective)
        if stage == "fit":
            self._read("train")
        wanted = "validation" if stage in ("fit", "validate") else "test" if self.paths["test"] else "validation"
        if self.paths[wanted]:
            self._read(wanted)
        elif self.validation_rows:
            self._read("train")
        elif stage != "fit":
            raise ConfigError(
                f"There is no data to {stage} on.", "Give data.validation, data.test or data.validation_rows."
            )
        self._tell()

    def teardown(self, stage: str) -> None:
        """Write down what became of a stream's rows, which only now is known."""
        data = self._sets.get("train")
        if stage == "fit" and isinstance(data, ComparisonStream):
            data.tell()
            self.reports["train"] = data.report
            self._told.add("train")
            self._write_reports()

    def comparisons(self, which: str) -> Iterator[Comparison]:
        """The comparisons of `train`, `validation` or `test`, in the order of the data, as parsed.

        Raises:
            ConfigError: The data is a stream, or was not set up.
        """
        data = self._mapped(which)
        for index in range(len(data)):
            yield data.comparison(index)

    def describe(self, which: str, index: int) -> str:
        """The file and row that a comparison of a batch came from."""
        if self.streaming and which == "train":
            return f"row {index} of the stream"
        comparison = self._mapped(which).comparison(index)
        return f"{comparison.source}, row {comparison.row}"

    def ask_fingerprints(self) -> None:
        """Have every batch carry its rows' content hashes; a cached reference asks for this."""
        self._fingerprints = True

    def ask_probe(self, batches: int) -> None:
        """Announce that `probe_batches` will be asked for so many, so that they are among what is computed ahead."""
        self._probed = max(self._probed, batches)

    def all_batches(
        self, rank: int, world: int, length: RunLength = ENDLESS, cycle: int | None = 1
    ) -> Iterator[PreferenceBatch]:
        """This rank's share of what a run will see, in the order of the data, for passes that precede training.

        Args:
            rank: Whose.
            world: Number of ranks.
            length: Of the run.
            cycle: After how many epochs a row's draws repeat; a training comparison comes once for each epoch that
                shows it with other draws. All other data comes once.

        Raises:
            ConfigError: The training data is a stream, or the run has no end and draws never repeat.
        """
        for which in self._sets:
            data = self._readable_ahead(which)
            passes: Iterable[tuple[int, Sequence[int]]] = [(EVALUATION, range(len(data)))]
            if which == "train":
                passes = drawn_rows(self._run_order(world), length, cycle)
            for epoch, rows in passes:
                order = BatchOrder(len(rows), self.validation_batch_size, False, rank=rank, world=world, only=rows)
                yield from (batch for _, batch in map_batches(data, self._collate(), order, epoch, 0, self.workers))

    def rows_seen(self, length: RunLength, world: int) -> tuple[int, int]:
        """How many of the training comparisons a run sees, and how many there are.

        Raises:
            ConfigError: The training data is a stream.
        """
        order = self._run_order(world)
        return len(seen_rows(order, length)), order.rows

    def epochs_drawn(self, length: RunLength, world: int, cycle: int | None) -> int:
        """As how many different epochs the training comparisons come in a run.

        Raises:
            ConfigError: The training data is a stream, or the run has no end and draws never repeat.
        """
        return drawn_epochs(self._run_order(world), length, cycle)

    def readable(self, length: RunLength = ENDLESS, world: int = 1) -> Iterable[Comparison]:
        """The comparisons that a run will read of the data that is set up and is no stream, in the order of the data.

        Of the training data these are the ones that any rank trains on or that are probed, of other data all. They may
        be iterated more than once.

        Args:
            length: Of the run.
            world: Number of ranks.
        """
        selections = {which: data for which, data in self._sets.items() if isinstance(data, Selection)}
        if "train" in selections:
            rows = set(seen_rows(self._run_order(world), length))
            if self._probe_data() == "train":
                probed = BatchOrder(len(selections["train"]), self.validation_batch_size, False, world=world)
                rows.update(probed.first_rows(EVALUATION, self._probed).tolist())
            selections["train"] = selections["train"].subset(sorted(rows))
        return Comparisons(list(selections.values()))

    def probe_batches(self, count: int) -> Iterator[PreferenceBatch]:
        """The first batches of the validation data, or of the training data where there is none, always the same."""
        data = self._sets[self._probe_data()]
        if isinstance(data, ComparisonStream):
            numbered = self._stream_batches(data, 0, 0)
        else:
            order = self._order(data, self.validation_batch_size, shuffle=False)
            numbered = map_batches(data, self._collate(), order, EVALUATION, 0, 0)
        return (batch for _, batch in islice(numbered, count))

    def _probe_data(self) -> str:
        return "validation" if "validation" in self._sets else "train"

    def train_dataloader(self) -> BatchLoader:
        self._train_loader = self._make_train_loader()
        return self._train_loader

    def _make_train_loader(self) -> BatchLoader:
        trainer = self.trainer
        accumulate = lambda: int(trainer.accumulate_grad_batches)  # noqa: E731
        limit = lambda: trainer.num_training_batches  # noqa: E731
        data = self._sets["train"]
        if isinstance(data, ComparisonStream):
            return BatchLoader(partial(self._stream_batches, data), self.position, accumulate, limit)
        order = self._order(data, self.batch_size, self.shuffle)
        batches = lambda epoch, start: map_batches(  # noqa: E731
            data, self._collate(), order, epoch, start, self.workers
        )
        return SizedBatchLoader(len(order), batches, self.position, accumulate, limit)

    def val_dataloader(self) -> BatchLoader | list[Any]:
        return self._evaluation_loader("validation")

    def test_dataloader(self) -> BatchLoader | list[Any]:
        return self._evaluation_loader("test" if self.paths["test"] else "validation")

    def predict_dataloader(self) -> BatchLoader | list[Any]:
        return self.test_dataloader()

    def state_dict(self) -> dict[str, int]:
        trainer = self.trainer
        progress = trainer.fit_loop.epoch_loop.batch_progress
        if progress.is_last_batch:
            # Lightning goes on in the next epoch, and opens its loader before it says which epoch that is.
            position = Position(trainer.current_epoch + 1)
        else:
            position = self._train_loader.position(trainer.current_epoch, progress.current.processed)
        return {**asdict(position), **self._geometry(), "mid_window": int(trainer.fit_loop._should_accumulate())}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue where a checkpoint stands.

        Raises:
            ConfigError: It was written between two micro-batches of a step, or its batches were of another size.
        """
        if self.trainer.state.fn != TrainerFn.FITTING:
            return
        if state_dict["mid_window"]:
            raise ConfigError(
                "The checkpoint was written while gradients were accumulated, and these are not in it.",
                "Continue from one of the run's own checkpoints (checkpoints/step-N.ckpt): --ckpt_path last.",
            )
        for name, value in self._geometry().items():
            if state_dict[name] != value:
                raise ConfigError(
                    f"The checkpoint counts its position with {name} {state_dict[name]}, and this run has {value}.",
                    f"Continue with {name} {state_dict[name]}.",
                )
        # Changed in place: the loader may exist already.
        for field in fields(Position):
            setattr(self.position, field.name, state_dict[field.name])

    def _geometry(self) -> dict[str, int]:
        """What a position is counted in."""
        trainer = self.trainer
        return {
            "data.batch_size": self.batch_size,
            "number of ranks": trainer.world_size,
            "trainer.accumulate_grad_batches": int(trainer.accumulate_grad_batches),
        }

    def _evaluation_loader(self, which: str) -> BatchLoader | list[Any]:
        if which not in self._sets:
            return []
        data = self._mapped(which)
        order = self._order(data, self.validation_batch_size, shuffle=False)
        return SizedBatchLoader(
            len(order), lambda epoch, start: map_batches(data, self._collate(), order, EVALUATION, 0, self.workers)
        )

    def _stream_batches(self, data: ComparisonStream, epoch: int, start: int) -> Iterator[Numbered]:
        trainer = self.trainer
        return stream_batches(
            data,
            self._collate(),
            epoch,
            start,
            rows=self.batch_size * trainer.world_size,
            rank=trainer.global_rank,
            world=trainer.world_size,
            workers=self.workers,
        )

    def _order(self, data: Any, batch_size: int, shuffle: bool) -> BatchOrder:
        trainer = self.trainer
        return BatchOrder(len(data), batch_size, shuffle, run_seed(), trainer.global_rank, trainer.world_size)

    def _run_order(self, world: int) -> BatchOrder:
        return BatchOrder(len(self._readable_ahead("train")), self.batch_size, self.shuffle, run_seed(), world=world)

    def _collate(self) -> Collate:
        return Collate(self._modality, self._fingerprints, self._objective.reads)

    def _read(self, which: str) -> None:
        if which in self._sets:
            return
        if not self.paths[which]:
            raise ConfigError(f"data.{which} is empty.", f"Set data.{which} to a file, a folder or a hub id.")
        if which == "train" and self.streaming:
            buffer = self.shuffle_buffer if self.shuffle else 0
            self._sets[which] = self._reading().stream(self.paths[which], self.splits[which], buffer)
            return
        dataset = self._reading().dataset(self.paths[which], self.splits[which])
        self._sets[which] = Selection(dataset)
        self.reports[which] = dataset.report
        if which == "train" and self.validation_rows and not self.paths["validation"]:
            kept, held_out = split_rows(dataset, self.validation_rows, run_seed())
            self._sets |= {"train": Selection(dataset, kept), "validation": Selection(dataset, held_out)}

    def _reading(self) -> Reading:
        return Reading(self.format, self._modality, self._objective, self.config_name, self.on_bad_row, self.max_rows)

    def _mapped(self, which: str) -> Selection:
        data = self._sets.get(which)
        if data is None or isinstance(data, ComparisonStream):
            raise ConfigError(f"The {which} data is {'a stream' if data else 'not set up'}.")
        return data

    def _readable_ahead(self, which: str) -> Selection:
        data = self._sets[which]
        if isinstance(data, ComparisonStream):
            raise ConfigError("A cached reference cannot read a stream ahead.", "Set data.streaming: false.")
        return data

    @rank_zero_only
    def _tell(self) -> None:
        for which in [which for which in self.reports if which not in self._told]:
            for line in self.reports[which].lines():
                print(f"{which}: {line}")
        self._told = set(self.reports)
        self._write_reports()

    @rank_zero_only
    def _write_reports(self) -> None:
        if self.trainer is not None:
            folder = Path(self.trainer.default_root_dir)
            folder.mkdir(parents=True, exist_ok=True)
            reports = {which: report.as_dict() for which, report in self.reports.items()}
            (folder / "data_report.json").write_text(json.dumps(reports, indent=1))


def _listed(paths: str | list[str]) -> list[str]:
    return [paths] if isinstance(paths, str) and paths else list(paths)


def _at_least(least: int, **options: int | None) -> None:
    for name, value in options.items():
        if value is not None and value < least:
            raise ConfigError(f"data.{name} is {value}.", f"Give at least {least}.")
