"""How a quickstart's report looks."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

PLAIN_WIDTH = 132
SMOKE_NOTE = "\nThis was a smoke run: it took too few steps for its numbers to mean anything."


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


def print_findings(
    statement: str,
    table: Table,
    columns: Mapping[str, str],
    counts: str,
    conclusions: Sequence[str],
    introduction: Sequence[str] = (),
) -> None:
    """Print what was preferred, what was measured, and what it says.

    Args:
        statement: The preference.
        table: The numbers.
        columns: What each of its columns means.
        counts: How much it was trained and measured on.
        conclusions: Sentences.
        introduction: Lines before the table.
    """
    console = report_console()
    console.print(f"\nPreference: {statement}", highlight=False, markup=False, style="bold")
    for line in introduction:
        console.print(line, highlight=False, markup=False)
    console.print(table)
    for column, meaning in columns.items():
        console.print(f"{column}: {meaning}", highlight=False, style="dim")
    console.print(f"\n{counts}", highlight=False)
    console.print("\nWhat the numbers say", style="bold")
    for line in conclusions:
        console.print(f"- {line}", highlight=False, markup=False)


def each(counts: Sequence[int]) -> str:
    """One number a seed."""
    return "/".join(map(str, counts))
