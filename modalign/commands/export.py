"""`modalign export`: a checkpoint becomes an ordinary model folder, as at the end of `fit`."""

import json
from collections.abc import Mapping
from pathlib import Path

from modalign.commands.quiet import no_bars_off_terminal, quiet_lightning
from modalign.plugins.command_parser import CommandParser


def main(argv: list[str]) -> int:
    """Rebuild the model from the config in the checkpoint, put the weights in and write it."""
    parser = CommandParser("export", "Turn a checkpoint into a folder that transformers, diffusers or peft loads.")
    parser.add_argument("checkpoint", type=Path, help="a checkpoint, or the folder of a run for its newest one")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--adapter", action="store_true", help="write the adapter alone, not merged into the model")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder if it exists")
    add_weights_option(parser)
    options = parser.parse_args(argv)
    given = {"merge": False} if options.adapter else {}
    if options.overwrite:
        given["overwrite"] = True
    export(options.checkpoint, options.out, given, options.weights)
    print(f"exported: {options.out}")
    return 0


def add_weights_option(parser: CommandParser) -> None:
    """`--weights`: which of a checkpoint's weights a command takes."""
    parser.add_argument(
        "--weights",
        choices=("average", "raw"),
        help="the average that the callback Ema kept, or the weights of the last step (default: the average, if any)",
    )


def export(path: Path, folder: Path, options: Mapping[str, bool], weights: str | None = None) -> None:
    """Write the policy of a checkpoint.

    Args:
        path: The checkpoint, or the folder of a run for its newest one.
        folder: Where to.
        options: For the modality's `export`.
        weights: `average` or `raw`; None for the average where there is one.

    Raises:
        UserError: The checkpoint cannot be read, or its model cannot be built or written.
    """
    no_bars_off_terminal()
    from modalign.commands.trained import read_trained
    from modalign.core.model_card import model_card

    quiet_lightning()
    trained = read_trained(path, weights)
    trained.modality.check_export(options)
    policy = trained.modality.load()
    trained.put_into(policy)
    metrics = last_metrics(trained.path.parent.parent / "metrics.jsonl", trained.step)
    card = model_card(trained.config, metrics, trained.step, library=trained.modality.library(options))
    trained.modality.export(policy, folder, card, **options)
    if trained.averaged:
        print("the weights are the average that Ema kept; --weights raw writes those of the last step")


def last_metrics(path: Path, step: int) -> dict[str, float]:
    """The metrics last logged at or before an optimiser step; empty where there is no log.

    Args:
        path: A run's `metrics.jsonl`.
        step: Of the checkpoint.
    """
    latest: dict[str, float] = {}
    if not path.is_file():
        return latest
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:  # a line that a kill has torn
            continue
        if row["step"] <= step:
            latest.update({name: value for name, value in row.items() if name not in ("step", "epoch", "partial")})
    return latest
