"""`modalign generate`: what models make of prompts, before and after alignment, side by side."""

import argparse
from pathlib import Path

from modalign.commands.model_options import add_model_options, check_model_options
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
    from modalign.commands.generate_inputs import named_values, rewards
    from modalign.commands.generate_models import open_models
    from modalign.commands.generate_prompts import read_prompts
    from modalign.core.generations import ROWS, Generations, Request

    quiet_lightning()
    sampling = named_values(options.sampling, "--sampling")
    judges, described = rewards(options.rewards)
    models = open_models(options)
    prompts = read_prompts(options.prompts, options.prompt_column, options.limit, models.modality)
    models.modality.check_sampling(sampling)
    for judge in judges.values():
        judge.check(models.modality)
        judge.check_prompts(prompts)
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
    check_model_options(options)
    for name in ("n", "limit"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} is {value}", "Give at least 1.")


def _parser() -> CommandParser:
    parser = CommandParser("generate", _DESCRIPTION)
    add_model_options(parser)
    parser.add_argument(
        "--prompts", type=Path, required=True, metavar="FILE", help="a .txt with one a line, or JSON, CSV, Parquet..."
    )
    parser.add_argument("--prompt-column", default="prompt", metavar="NAME", help="where the prompts are (prompt)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N prompts")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where everything is written")
    parser.add_argument("--n", type=int, default=1, help="responses a prompt (1)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other responses (0)")
    parser.add_argument(
        "--sampling", nargs="+", default=[], metavar="NAME=VALUE", help="options of the modality, or a YAML file"
    )
    parser.add_argument(
        "--rewards", nargs="+", default=[], metavar="NAME", help="measure by these, or by those in a YAML file"
    )
    return parser
