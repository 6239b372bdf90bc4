"""How `modalign generate`, `modalign eval` and `modalign build` are told which models to use."""

import argparse
from pathlib import Path

from modalign.commands.export import add_weights_option
from modalign.core.errors import UserError
from modalign.plugins.command_parser import CommandParser


def add_model_options(parser: CommandParser, default: str = "text", base: bool = True) -> None:
    """A checkpoint, or a config or folder; what `generate_models.open_models` reads.

    Args:
        parser: Takes the options.
        default: The modality of a folder where none is named, for the help.
        base: Whether the model before training can be asked for too.
    """
    parser.add_argument(
        "checkpoint", type=Path, nargs="?", help="a checkpoint, or the folder of a run for its newest one"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="a config of fit, for its model before training")
    parser.add_argument("--model", metavar="FOLDER", help="a model's folder or hub id, as export writes it")
    parser.add_argument(
        "--modality",
        nargs="+",
        metavar=("NAME", "OPTION=VALUE"),
        help=f"of --model, with options of its own, such as `image dtype=bfloat16` (default: {default})",
    )
    if base:
        parser.add_argument("--base", action=argparse.BooleanOptionalAction, help="the model before training too (yes)")
    parser.set_defaults(base=None)
    parser.add_argument("--device", help="such as cuda:1 or cpu (default: a GPU where there is one)")
    add_weights_option(parser)


def check_model_options(options: argparse.Namespace) -> None:
    """Refuse options that contradict each other or leave nothing to do.

    Raises:
        UserError: Naming them.
    """
    named = bool(options.config or options.model)
    if named == bool(options.checkpoint):
        raise UserError(
            "both a checkpoint and a model are given" if named else "no model is given",
            "Give a checkpoint or a run's folder, or --config FILE, or --model FOLDER with --modality.",
        )
    if options.weights and not options.checkpoint:
        raise UserError("--weights chooses among the weights of a checkpoint, and none is given", "Leave it out.")
    if options.modality and options.config:
        raise UserError("--modality is given, and the config names one", "Leave --modality out.")
    if options.model and not options.config and options.base:
        raise UserError("--base: a model's folder does not say what it was trained from", "Give --config as well.")
    if options.config and not options.model and options.base is False:
        raise UserError("--no-base leaves nothing: a config alone describes the model before training", "Give --model.")
