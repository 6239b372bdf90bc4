"""The rows of a report: a start, and the policies trained from it with their controls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modalign.modalities.quickstart.stages import Stage

START, IMITATION = "start", "SFT on the chosen"


@dataclass(frozen=True)
class Policy:
    """A trained row of the report.

    Attributes:
        title: Its name in the report.
        stage: How it is trained from the start.
        coin: Whether its labels are drawn by coin.
        folder: The name of its run's folder.
        rows: The name of the file it is trained on.
    """

    title: str
    stage: Stage
    coin: bool
    folder: str
    rows: str


def coin_title(title: str) -> str:
    """What the control of a method is called."""
    return f"{title}, coin"


def policies(
    imitate: Stage,
    align: Mapping[str, Stage],
    titles: Mapping[str, str],
    methods: Sequence[str],
    listwise: Sequence[str] = (),
) -> list[Policy]:
    """Every policy that is trained from the start, each method after its control.

    Args:
        imitate: SFT on the chosen.
        align: The stage of every method there is.
        titles: Their names in the report.
        methods: Those that are wanted.
        listwise: Methods that are trained on lists, not on pairs.
    """
    found = [Policy(IMITATION, imitate, False, "sft_on_chosen", "pairs.jsonl")]
    for method in methods:
        title, stage = titles[method], align[method]
        rows = "lists.jsonl" if method in listwise else "pairs.jsonl"
        found.append(Policy(coin_title(title), stage, True, f"{method}_coin", f"coin_{rows}"))
        found.append(Policy(title, stage, False, method, rows))
    return found
