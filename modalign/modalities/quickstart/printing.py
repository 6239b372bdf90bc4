"""How a quickstart's report looks."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

PLAIN_WIDTH = 132


def report_console() -> Console:
    """The terminal, or plain lines of a fixed width where there is none."""
    return Console() if Console().is_terminal else Console(width=PLAIN_WIDTH)


def report_table(columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> Table:
    """A row a policy.

    Args:
        columns: The headings of what is measured.
        rows: For each policy, what was measured.
    """
    table = Table(box=box.SIMPLE)
    table.add_column("policy")
    for column in columns:
        table.add_column(column, justify="right")
    for policy, cells in rows.items():
        table.add_row(policy, *cells)
    return table


def each(counts: Sequence[int]) -> str:
    """One number a seed."""
    return "/".join(map(str, counts))
