"""The options of `modalign build tango2`."""

from pathlib import Path

from modalign.commands.model_options import add_model_options
from modalign.plugins.command_parser import CommandParser

_DESCRIPTION = """Makes pairs of sounds as Tango 2 does: generates sounds of each prompt and of captions that say
otherwise, has a reward judge them under the prompt, and prefers the best to those that are measurably worse. The policy
is a checkpoint's, or is named by --config or --model. Works offline; a folder that was begun is completed by the same
command. Writes pairs.jsonl with the columns of audio-alpaca, and the sounds beside it."""


def tango2_parser() -> CommandParser:
    """The command's parser."""
    parser = CommandParser("build tango2", _DESCRIPTION)
    add_model_options(parser, default="audio", base=False)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where everything is written")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other sounds and captions (0)")
    parser.add_argument(
        "--prompts", type=Path, required=True, metavar="FILE", help="a .txt with one a line, or JSON, CSV, Parquet..."
    )
    parser.add_argument("--prompt-column", default="prompt", metavar="NAME", help="where the prompts are (prompt)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N prompts")
    _add_sampling(parser)
    _add_rewriting(parser)
    _add_selection(parser)
    return parser


def _add_sampling(parser: CommandParser) -> None:
    group = parser.add_argument_group("sounds")
    group.add_argument("--samples", type=int, default=4, metavar="N", help="of each prompt and variation (4)")
    group.add_argument(
        "--sampling", nargs="+", default=[], metavar="NAME=VALUE", help="options of the modality, or a YAML file"
    )
    group.add_argument(
        "--vary",
        nargs="+",
        default=[],
        metavar="NAME=VALUE,VALUE",
        help="options of the modality that make a variation a value, such as steps=25,50,100; the first is the "
        "rewritten captions' too",
    )


def _add_rewriting(parser: CommandParser) -> None:
    group = parser.add_argument_group("rejected sounds")
    group.add_argument(
        "--strategies",
        nargs="+",
        choices=("inference", "perturbed", "temporal"),
        default=["inference", "perturbed", "temporal"],
        help="inference: other sounds of the prompt itself; perturbed: of captions with an event removed or replaced; "
        "temporal: of captions with the order turned round (all)",
    )
    group.add_argument("--rewrites", type=int, metavar="N", help="captions of each such strategy, at most (2)")
    group.add_argument(
        "--rewriter",
        nargs="+",
        default=["rules"],
        metavar=("NAME", "OPTION=VALUE"),
        help="rules, for English; or model, a language model: model=FOLDER_OR_HUB_ID, with options of its sampling, "
        "such as max_new_tokens=64, and instructions perturbed=TEXT, temporal=TEXT, {prompt} being the caption (rules)",
    )


def _add_selection(parser: CommandParser) -> None:
    group = parser.add_argument_group("selection")
    group.add_argument(
        "--reward",
        nargs="+",
        default=["clap_score", "model=laion/clap-htsat-unfused"],
        metavar=("NAME", "OPTION=VALUE"),
        help="scores sounds under prompts (clap_score model=laion/clap-htsat-unfused)",
    )
    group.add_argument(
        "--min-score", type=float, default=0.45, metavar="SCORE", help="what the chosen sound must reach (0.45)"
    )
    group.add_argument(
        "--min-gap", type=float, default=0.08, metavar="GAP", help="by how much the rejected one must be lower (0.08)"
    )
    group.add_argument(
        "--max-rejected-score", type=float, metavar="SCORE", help="what the rejected one may not exceed (no limit)"
    )
    group.add_argument(
        "--losers", choices=("all", "worst"), default="all", help="all that pass, or of each strategy the worst (all)"
    )
