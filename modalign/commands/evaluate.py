"""`modalign eval`: what a task measures of a model, before and after alignment."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modalign.commands.console import table
from modalign.commands.model_options import add_model_options, check_model_options
from modalign.commands.quiet import no_bars_off_terminal, quiet_lightning
from modalign.core.errors import UserError
from modalign.plugins.command_parser import CommandParser
from modalign.plugins.manager import registry

if TYPE_CHECKING:
    from modalign.core.figures import Figure
    from modalign.core.task import FileTask, Measurement, Task

_HELP = """usage: modalign eval TASK MODEL --out FOLDER [options]

Measures a model on local files, beside the one that it was trained from. MODEL is a checkpoint or the folder of a run;
--config or --model name others. Tasks that compare folders take none. A folder that was begun is completed.

tasks:
{tasks}

`modalign eval TASK --help` lists every option of one.
"""
_FILES = """Rows go to rows.jsonl in the folder, figures to figures.json. A folder that was begun is completed; nothing
in it is overwritten."""
_DESCRIPTION = """The model is a checkpoint's, or is named by --config or --model. Answers go to rows.jsonl in the
folder, figures to figures.json. A folder that was begun is completed; nothing in it is overwritten."""


def main(argv: list[str]) -> int:
    """Run the command; returns the exit status."""
    if not argv or argv[0] in ("-h", "--help"):
        rows = [(entry.name, entry.summary) for entry in registry().entries("task")]
        print(_HELP.format(tasks=table(rows) if rows else "  (none)"), end="")
        return 0
    if argv[0].startswith("-"):
        raise UserError(f"the option {argv[0]} stands before the task", "Write `modalign eval TASK [options]`.")
    no_bars_off_terminal()
    task: type[Measurement] = registry().load("task", argv[0])
    from modalign.core.task import FileTask, Task

    if issubclass(task, FileTask):
        _compare(task, argv[1:])
    elif issubclass(task, Task):
        _evaluate(task, argv[1:])
    return 0


def _compare(kind: "type[FileTask]", argv: list[str]) -> None:
    from modalign.commands.task_options import add_task_options, build_task

    parser = _parser(kind, _FILES)
    add_task_options(parser, kind)
    options = parser.parse_args(argv)
    task, described = build_task(kind, options)
    from modalign.core.answer_folder import FIGURES
    from modalign.core.file_evaluation import FileEvaluation

    evaluation = FileEvaluation(options.out, task, {"options": described})
    for name, files in evaluation.sets.items():
        missing = len(evaluation.missing(name))
        print(f"{name}: {len(files) - missing} of {len(files)} files done, {missing} to go", flush=True)
    for name in evaluation.sets:
        evaluation.add(name)
    print(_table(evaluation.figures()))
    print(f"evaluated: {options.out / FIGURES}")


def _evaluate(kind: "type[Task]", argv: list[str]) -> None:
    from modalign.commands.task_options import add_task_options, build_task

    parser = _parser(kind, _DESCRIPTION)
    add_model_options(parser, default=_own_modality(kind) or "text")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N items")
    add_task_options(parser, kind)
    options = parser.parse_args(argv)
    _check(options)
    task, described = build_task(kind, options)
    from modalign.commands.generate_models import open_models
    from modalign.core.answer_folder import FIGURES
    from modalign.core.evaluation import Evaluation, Question

    quiet_lightning()
    own = _own_modality(kind)
    if options.model and own and not (options.config or options.modality):
        options.modality = [own]
    models = open_models(options)
    task.check(models.modality)
    source = {"options": described, **models.source}
    evaluation = Evaluation(options.out, Question(task, models.modality, models.device, options.limit, source))
    for policy in models.policies:
        missing = len(evaluation.missing(policy))
        print(f"{policy}: {evaluation.count - missing} of {evaluation.count} answered, {missing} to go", flush=True)
    models.each([policy for policy in models.policies if evaluation.missing(policy)], evaluation.add)
    print(_table(evaluation.figures(models.policies)))
    print(f"evaluated: {options.out / FIGURES}")


def _table(columns: "Mapping[str, Mapping[str, Figure]]") -> str:
    """A row a figure, a column a policy, then what changed."""
    names = list(dict.fromkeys(name for figures in columns.values() for name in figures))
    rows: Sequence[tuple[str, ...]] = [("", *columns)]
    for name in names:
        cells = (
            figures[name].text(signed=" - " in title) if name in figures else "" for title, figures in columns.items()
        )
        rows = [*rows, (name, *cells)]
    return table(rows)


def _check(options: argparse.Namespace) -> None:
    check_model_options(options)
    if options.limit is not None and options.limit < 1:
        raise UserError(f"--limit is {options.limit}", "Give at least 1.")


def _own_modality(kind: "type[Task]") -> str | None:
    """The modality of a task that measures one alone."""
    return next(iter(kind.modalities)) if len(kind.modalities) == 1 else None


def _parser(kind: "type[Measurement]", description: str) -> CommandParser:
    parser = CommandParser(f"eval {kind.name}", f"{(kind.__doc__ or '').partition(chr(10))[0]} {description}")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where everything is written")
    return parser
