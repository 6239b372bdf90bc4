"""`modalign check`: builds what a config describes, reads its data, lists every problem; trains nothing."""

import io
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from modalign.commands.precheck import config_files
from modalign.commands.quiet import no_bars_off_terminal, quiet_lightning
from modalign.core.errors import UserError

if TYPE_CHECKING:
    from modalign.core.data import PreferenceDataModule

STREAMED_ROWS = 100_000
"""How much of a stream is read."""

_HELP = """usage: modalign check --config FILE [options of fit]

Builds everything a config describes and reads its data, lists every problem at once, and looks for ties, duplicates,
contradictions and length bias in the preferences. Trains nothing. The exit status is 1 where there is a problem.
"""


def main(argv: list[str]) -> int:
    """Print what was found.

    Args:
        argv: The options that `fit` would be given.

    Returns:
        1 if there is a problem.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(_HELP, end="")
        return 0 if argv else 2
    files = config_files(argv)
    no_bars_off_terminal()
    from modalign.commands.check_build import Parts
    from modalign.commands.check_config import parse_all

    quiet_lightning()
    parsed = parse_all(argv, files)
    problems = list(parsed.problems)
    if parsed.cli is not None:
        parts = Parts(parsed.cli)
        problems += parts.problems
        if parts.modality is not None and parts.objective is not None and parts.data is not None:
            try:
                parts.data.connect(parts.modality, parts.objective)
                problems += _data_problems(parts.data)
                # What stands in the way of the modality would stand in the way of its notes.
                for note in parts.modality.start_notes(parts.objective) if not problems else ():
                    print(note)
            except UserError as error:
                problems.append(f"data: {error}")
    return _verdict(problems)


def _verdict(problems: Sequence[str]) -> int:
    # A mistake in the modality stands in the way of the data too, which tell it without its place.
    unique = [one for one in dict.fromkeys(problems) if not any(other.endswith(f": {one}") for other in problems)]
    if not unique:
        print("no problems")
        return 0
    print(f"{len(unique)} problem{'s' if len(unique) > 1 else ''}")
    for number, problem in enumerate(unique, 1):
        print(f"{number:>3}. " + problem.replace("\n", "\n     "))
    return 1


def _data_problems(data: "PreferenceDataModule") -> Iterator[str]:
    """Read all data, print its report and audit, and tell what is wrong with it."""
    refuses = data.on_bad_row == "error"
    data.on_bad_row = "skip"  # so that all bad rows are found
    if data.streaming:
        data.streaming, data.max_rows = False, data.max_rows or STREAMED_ROWS
        print(f"data.streaming is on: at most {data.max_rows} rows are read here")
    for stage in ("fit", "validate", "test") if data.paths["test"] else ("fit", "validate"):
        if stage == "validate" and not (data.paths["validation"] or data.validation_rows):
            continue
        try:
            with redirect_stdout(io.StringIO()):  # told below, once
                data.setup(stage)
        except UserError as error:
            yield str(error)
    for which, report in data.reports.items():
        _print_report(which, data)
        bad = [row for source in report.sources for row in source.skipped if not row.by_option]
        if refuses and bad:
            listed = "\n".join(row.message for row in bad)
            yield f"data.{which}: {len(bad)} rows cannot be used, and data.on_bad_row is error\n{listed}"


def _print_report(which: str, data: "PreferenceDataModule") -> None:
    from modalign.core.audit import audit

    print(which)
    for line in data.reports[which].lines():
        print(f"  {line}")
    for line in audit(data.comparisons(which)).lines():
        print(f"  {line}")
    print()
