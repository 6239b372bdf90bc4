"""`modalign scratch`: a small language model with random weights and its own tokenizer, from files of text."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from modalign.core.errors import UserError
from modalign.plugins.command_parser import CommandParser


def main(argv: list[str]) -> int:
    """Run the command; returns the exit status."""
    options = _parser().parse_args(argv)
    for name in ("hidden_size", "layers", "heads", "max_positions"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} is {getattr(options, name)}", "Give at least 1.")
    from modalign.modalities.text.scratch import write_scratch_model

    folder = write_scratch_model(
        texts_of(options.texts),
        options.out,
        vocab_size=options.vocab_size,
        hidden_size=options.hidden_size,
        layers=options.layers,
        heads=options.heads,
        max_positions=options.max_positions,
        seed=options.seed,
        overwrite=options.overwrite,
    )
    print(f"Wrote a model with random weights and its tokenizer to {folder}.")
    return 0


def texts_of(files: Sequence[str]) -> Iterator[str]:
    """Every string in every row of the files: of text columns, and of the messages of chats.

    Raises:
        UserError: A file cannot be read, or none of them holds any text.
    """
    from modalign.core.sources import open_rows

    found = False
    for file in files:
        for _, row in open_rows(file).rows():
            if isinstance(row, UserError):
                raise row
            for text in _strings(row):
                found = True
                yield text
    if not found:
        raise UserError(f"There is no text in {', '.join(files)}.", "Give files with columns of text.")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key != "role":
                yield from _strings(inner)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for inner in value:
            yield from _strings(inner)


def _parser() -> CommandParser:
    description = "Make a small Llama with random weights and a byte-level BPE tokenizer trained on your texts."
    parser = CommandParser("scratch", description)
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument("--texts", nargs="+", required=True, metavar="FILE", help="JSON Lines, CSV, Parquet...")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the model is written")
    parser.add_argument("--vocab-size", type=int, default=4096, help="tokens")
    parser.add_argument("--hidden-size", type=int, default=256, help="width of the model")
    parser.add_argument("--layers", type=int, default=4, help="decoder layers")
    parser.add_argument("--heads", type=int, default=4, help="attention heads a layer")
    parser.add_argument("--max-positions", type=int, default=512, help="the longest sequence in tokens")
    parser.add_argument("--seed", type=int, default=0, help="decides the weights")
    parser.add_argument("--overwrite", action="store_true", help="replace FOLDER if it exists")
    return parser
