"""LightningCLI over the preference module and data module: parsing, building, running."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from modalign.commands.config_files import ConfigFile
from modalign.commands.console import warn
from modalign.commands.messages import Message, constructors_message
from modalign.commands.parser import ModalignParser
from modalign.commands.parsing import prepare_parsing
from modalign.commands.resume import resolve_checkpoint, tell_differences
from modalign.commands.value_checks import bad_values
from modalign.core.callbacks.checkpoint import ResumeCheckpoint
from modalign.core.callbacks.drift import DriftLog
from modalign.core.callbacks.ema import Ema  # noqa: F401 (so that configs may name it)
from modalign.core.callbacks.export import Export
from modalign.core.callbacks.predictions import PredictionWriter
from modalign.core.callbacks.progress import Progress
from modalign.core.callbacks.run_folder import RunFolder, refuse_second_run
from modalign.core.callbacks.samples import SampleLog  # noqa: F401 (so that configs may name it)
from modalign.core.checkpoint_io import AtomicCheckpointIO
from modalign.core.data import PreferenceDataModule
from modalign.core.errors import ConfigError, UserError
from modalign.core.jsonl_logger import JsonlLogger
from modalign.core.module import PreferenceModule

TRAINER_DEFAULTS = {
    "default_root_dir": "runs/modalign",
    "use_distributed_sampler": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 10,
}

_LIGHTNINGS_OWN_REFUSALS = (
    "Early stopping conditioned on metric",
    "`val_check_interval` (",
    "ModelCheckpoint(monitor=",
)
"""How errors begin that Lightning raises at run time for a mistake in the config."""


class ModalignCLI(LightningCLI):
    """Parses one command's options and builds what they describe; `run` runs it.

    Args:
        command: `fit`, `validate`, `test` or `predict`.
        args: Its options.
        files: The config files that the options name, for messages.
        build: Whether to build model, data and trainer, or only to parse.
    """

    def __init__(self, command: str, args: Sequence[str], files: Sequence[ConfigFile] = (), build: bool = True) -> None:
        self._command = command
        self._build = build
        self._starts_over = False
        prepare_parsing()
        context: dict[str, Any] = {"command": command, "files": files}
        super().__init__(
            PreferenceModule,
            PreferenceDataModule,
            args=[command, *args],
            parser_class=ModalignParser,
            parser_kwargs={**context, "prog": "modalign", command: {**context, **_help(command)}},
            save_config_callback=None,
            seed_everything_default=42,
            auto_configure_optimizers=False,
            trainer_defaults=TRAINER_DEFAULTS,
        )

    def subcommands(self) -> dict[str, set[str]]:
        # Only the one that is wanted: each costs a tenth of a second. Predictions are written, not returned.
        return {self._command: LightningCLI.subcommands()[self._command] | {"return_predictions"}}

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        arguments: dict[str, Any] = super()._prepare_subcommand_kwargs(subcommand)
        return {**arguments, "return_predictions": False} if subcommand == "predict" else arguments

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_class_arguments(ResumeCheckpoint, "checkpoint")
        parser.add_class_arguments(Export, "export")
        parser.set_defaults({"data.format": "auto"})

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        self.config = parser.parse_args(args)
        for bad in bad_values(self.config[self._command]):
            raise parser.refusal(Message(bad.key, bad.text), bad.cure)
        trainer = self.config[self._command].trainer
        endless = trainer.max_epochs is None and trainer.max_steps == -1 and trainer.max_time is None
        if self._command == "fit" and endless:  # Lightning would train for a thousand epochs
            trainer.max_epochs = 1
            warn("neither trainer.max_epochs nor trainer.max_steps is given: training for one epoch")

    def _parse_ckpt_path(self) -> None:
        """Keep the user's options, where Lightning would silently put the checkpoint's in their place."""
        options = self.config[self._command]
        root = Path(options.trainer.default_root_dir)
        path = resolve_checkpoint(options.ckpt_path, root, self._command)
        # `last` without a checkpoint starts the folder's own run afresh: a supervisor restarts with the same command.
        self._starts_over = options.ckpt_path is not None and path is None
        options.ckpt_path = path
        if path is not None:
            self._dump_config()
            tell_differences(Path(path), self.config_dump, self._command)

    def _run_subcommand(self, subcommand: str) -> None:
        """Building ends here: mistakes in a config and failures of a run have different exit statuses."""

    def run(self) -> None:
        """Run the command."""
        options = self.config[self._command]
        if self._command == "fit" and not self._starts_over:
            checkpoint = Path(options.ckpt_path) if options.ckpt_path else None
            refuse_second_run(Path(options.trainer.default_root_dir), checkpoint)
        try:
            super()._run_subcommand(self._command)
        except MisconfigurationException as error:
            raise ConfigError(str(error)) from error
        except OSError as error:
            raise UserError(
                f"A file could not be read or written: {error}.", "Check its path, rights and space."
            ) from error
        except (RuntimeError, ValueError) as error:
            if not str(error).strip().startswith(_LIGHTNINGS_OWN_REFUSALS):
                raise
            raise ConfigError(str(error).strip()) from error
        except SystemExit as stopped:  # what Lightning makes of an interrupt
            if isinstance(stopped.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from stopped
            raise

    def instantiate_classes(self) -> None:
        if not self._build:
            return
        try:
            super().instantiate_classes()
        except (MisconfigurationException, ValueError, TypeError) as error:
            told = constructors_message(error)
            cure = "" if "->" in told else "MODALIGN_DEBUG=1 shows where."
            raise ConfigError(f"the config cannot be built: {told}", cure) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        self._dump_config()
        trainer = self._get(self.config_init, "trainer")
        self.trainer_defaults = {**TRAINER_DEFAULTS, "callbacks": self._callbacks(trainer)}
        if trainer.logger is None:
            file = "metrics.jsonl" if self._command == "fit" else f"metrics-{self._command}.jsonl"
            kwargs["logger"] = JsonlLogger(trainer.default_root_dir, file)
        kwargs["plugins"] = [*(trainer.plugins or []), AtomicCheckpointIO()]
        return super().instantiate_trainer(**kwargs)

    def _callbacks(self, trainer: Any) -> list[Callback]:
        """What every run has beside `trainer.callbacks`."""
        given = trainer.callbacks if isinstance(trainer.callbacks, list) else [trainer.callbacks]
        own_bar = any(isinstance(callback, ProgressBar) for callback in given)
        callbacks: list[Callback] = [Progress()] if trainer.enable_progress_bar is not False and not own_bar else []
        if self._command == "predict":
            callbacks.append(PredictionWriter())
        if self._command != "fit":
            return callbacks
        callbacks.append(DriftLog())
        if not trainer.fast_dev_run:
            callbacks += [RunFolder(self.config_dump), self._get(self.config_init, "export")]
            if trainer.enable_checkpointing is not False:
                callbacks.append(self._get(self.config_init, "checkpoint"))
        return callbacks


def _help(command: str) -> dict[str, str]:
    return {
        "usage": f"modalign {command} --config FILE [options]",
        "description": f"Options of `modalign {command}`; each can stand in a config file, without the dashes.",
        "epilog": "A class has options of its own: --model.objective.help dpo lists them. `modalign plugins` lists the "
        "names that may be given for modalities, objectives, references and formats.",
    }
