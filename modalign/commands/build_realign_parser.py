"""The options of `modalign build realign`."""

from pathlib import Path

from modalign.commands.model_options import add_model_options
from modalign.plugins.command_parser import CommandParser

_DESCRIPTION = """Makes the dual preferences of Re-Align from demonstrations with images: embeds every image, retrieves
its nearest others, and has the policy answer under a neighbour until an answer differs enough from the chosen response.
The policy is a checkpoint's, or is named by --config or --model. Works offline; a folder that was begun is completed by
the same command."""


def realign_parser() -> CommandParser:
    """The command's parser."""
    parser = CommandParser("build realign", _DESCRIPTION)
    add_model_options(parser, default="vision_language", base=False)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where everything is written")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other blanks and answers (0)")
    _add_data(parser)
    _add_retrieval(parser)
    _add_rejection(parser)
    return parser


def _add_data(parser: CommandParser) -> None:
    group = parser.add_argument_group("demonstrations")
    group.add_argument("--data", nargs="+", required=True, metavar="FILE", help="rows with image, prompt and response")
    group.add_argument("--split", default="train", help="of data that has several (train)")
    group.add_argument(
        "--format",
        nargs="+",
        default=["auto"],
        metavar=("NAME", "OPTION=VALUE"),
        help="their schema; `modalign plugins format` lists all (auto)",
    )
    group.add_argument("--limit", type=int, metavar="N", help="only the first N rows")


def _add_retrieval(parser: CommandParser) -> None:
    group = parser.add_argument_group("retrieval")
    group.add_argument(
        "--embedder",
        nargs="+",
        default=["policy"],
        metavar=("NAME", "OPTION=VALUE"),
        help="policy: the mean of what its language model sees; clip or open_clip, with model=FOLDER (policy)",
    )
    group.add_argument("--batch-size", type=int, default=32, metavar="N", help="images embedded at once (32)")
    group.add_argument("--neighbours", type=int, default=10, metavar="K", help="tried for each image, at most (10)")
    group.add_argument(
        "--similarity",
        type=float,
        nargs=2,
        default=[-1.0, 1.0],
        metavar=("MIN", "MAX"),
        help="only neighbours whose cosine is in this band (-1 1)",
    )
    group.add_argument(
        "--index",
        default="auto",
        metavar="KIND",
        help="blocked, or faiss: flat is exact; hnsw and ivf are not, for millions (auto: blocked up to 50,000 images)",
    )


def _add_rejection(parser: CommandParser) -> None:
    group = parser.add_argument_group("rejected responses")
    group.add_argument(
        "--rejected",
        choices=("mask", "regenerate"),
        default="mask",
        help="mask: fill blanks in the chosen response; regenerate: answer the prompt anew (mask)",
    )
    group.add_argument(
        "--words", type=Path, metavar="FILE", help="what is blanked, a word or phrase a line (every content word)"
    )
    group.add_argument(
        "--mask-share", type=float, metavar="SHARE", help="of a long response's content words that is blanked (0.5)"
    )
    group.add_argument("--instruction", metavar="TEXT", help="how to ask; {masked} stands for the text with blanks")
    group.add_argument(
        "--text-similarity",
        nargs="+",
        default=["tfidf"],
        metavar=("NAME", "OPTION=VALUE"),
        help="tfidf: of letters; encoder, with model=FOLDER_OR_HUB_ID such as all-mpnet-base-v2 (tfidf)",
    )
    group.add_argument(
        "--accept-below", type=float, default=0.95, metavar="COSINE", help="how similar an answer may not be (0.95)"
    )
    group.add_argument(
        "--sampling", nargs="+", default=[], metavar="NAME=VALUE", help="options of the modality, or a YAML file"
    )
