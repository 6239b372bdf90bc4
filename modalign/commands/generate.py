"""`modalign generate`: what models make of prompts, before and after alignment, side by side."""

import argparse
from pathlib import Path

from modalign.commands.export import add_weights_option
from modalign.commands.quiet import no_bars_off_terminal, quiet_lightning
from modalign.core.errors import UserError
from modalign.plugins.command_parser import CommandParser

_DESCRIPTION = """Generates from the prompts of a file, with fixed seeds, by the aligned model and by the one it was
trained from. The model is a checkpoint's, or is named by --config or --model. A folder that was begun is completed;
nothing in it is overwritten."""


def main(argv: list[str]) -> int:
    """Run the command; returns the exit status."""
    options = _parser().parse_args(argv)
    _check(options)
    no_bars_off_terminal()
    from modalign.commands.generate_identity import rewards_identity
    from modalign.commands.generate_inputs import named_values, read_prompts, rewards
    from modalign.commands.generate_models import open_models
    from modalign.core.generations import ROWS, Generations, Request

    quiet_lightning()
    prompts = read_prompts(options.prompts, options.prompt_column, options.limit)
    sampling = named_values(options.sampling, "--sampling")
    judges, described = rewards(options.rewards)
    models = open_models(options)
    models.modality.check_sampling(sampling)
    for judge in judges.values():
        judge.check(models.modality)
    source = {**models.source, **rewards_identity(described)}
    request = Request(models.modality, prompts, options.n, options.seed, sampling, judges, source)
    generations = Generations(options.out, request)
    for policy in models.policies:
        missing = len(generations.missing(policy))
        print(f"{policy}: {len(prompts) - missing} of {len(prompts)} prompts answered, {missing} to go", flush=True)
    models.each([policy for policy in models.policies if generations.missing(policy)], generations.add)
    for name, means in generations.mean_rewards().items():
        print(f"{name}: " + ", ".join(f"{policy} {mean:.4g}" for policy, mean in means.items()))
    sheet = generations.contact_sheet()
    print(f"generated: {options.out / ROWS}" + (f", {sheet}" if sheet else ""))
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse options that contradict each other or leave nothing to do."""
    named = bool(options.config or options.model)
    if named == bool(options.checkpoint):
        raise UserError(
            "both a checkpoint and a model are given" if named else "no model is given",
            "Give a checkpoint or a run's folder, or --config FILE, or --model FOLDER with --modality.",
        )
    for name in ("n", "limit"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} is {value}", "Give at least 1.")
    if options.weights and not options.checkpoint:
        raise UserError("--weights chooses among the weights of a checkpoint, and none is given", "Leave it out.")
    if options.modality and options.config:
        raise UserError("--modality is given, and the config names one", "Leave --modality out.")
    if options.model and not options.config and options.base:
        raise UserError("--base: a model's folder does not say what it was trained from", "Give --config as well.")
    if options.config and not options.model and options.base is False:
        raise UserError("--no-base leaves nothing: a config alone describes the model before training", "Give --model.")


def _parser() -> CommandParser:
    parser = CommandParser("generate", _DESCRIPTION)
    parser.add_argument(
        "checkpoint", type=Path, nargs="?", help="a checkpoint, or the folder of a run for its newest one"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="a config of fit, for its model before training")
    parser.add_argument("--model", metavar="FOLDER", help="a model's folder or hub id, as export writes it")
    parser.add_argument(
        "--modality",
        nargs="+",
        metavar=("NAME", "OPTION=VALUE"),
        help="of --model, with options of its own, such as `image dtype=bfloat16` (default: text)",
    )
    parser.add_argument(
        "--prompts", type=Path, required=True, metavar="FILE", help="a .txt with one a line, or JSON, CSV, Parquet..."
    )
    parser.add_argument("--prompt-column", default="prompt", metavar="NAME", help="where the prompts are (prompt)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N prompts")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where everything is written")
    parser.add_argument("--n", type=int, default=1, help="responses a prompt (1)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other responses (0)")
    parser.add_argument(
        "--base", action=argparse.BooleanOptionalAction, help="generate with the model before training too (yes)"
    )
    parser.add_argument(
        "--sampling", nargs="+", default=[], metavar="NAME=VALUE", help="options of the modality, or a YAML file"
    )
    parser.add_argument(
        "--rewards", nargs="+", default=[], metavar="NAME", help="measure by these, or by those in a YAML file"
    )
    parser.add_argument("--device", help="such as cuda:1 or cpu (default: a GPU where there is one)")
    add_weights_option(parser)
    return parser
