"""What became of the rows: read, kept, truncated, skipped and why. No row leaves without a trace."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modalign.core.batch import CANDIDATE, Example
from modalign.core.errors import RowError, UserError

ROWS_PRINTED = 10
REASONS_PRINTED = 8
ERRORS_PRINTED = 20


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row, or a comparison of a row, that is not used.

    Attributes:
        source: The file it is in.
        row: Its number there, from 0.
        reason: What such rows are counted under.
        message: What is wrong with it, in full, with the cure.
        column: The column at fault, where there is one.
        by_option: Whether an option of the format asked for it (`ties: skip`), so that it is no mistake in the data.
    """

    source: str
    row: int
    reason: str
    message: str
    column: str | None = None
    by_option: bool = False

    @classmethod
    def of(cls, error: RowError, source: str, row: int) -> "LeftOut":
        return cls(source, row, error.reason, str(error.at(source, row)), error.column)


@dataclass
class SourceReport:
    """What became of one source's rows; `kept + len(skipped) == read`.

    Attributes:
        name: The file, folder or hub id.
        read: Rows looked at.
        kept: Rows with at least one comparison in use.
        comparisons: Comparisons in use.
        truncated: Those of them that were cut to fit.
        unread: Rows beyond `max_rows`.
        skipped: The rows that are not used, all of them.
        left_out: Comparisons of kept rows that are not used, by reason.
    """

    name: str
    read: int = 0
    kept: int = 0
    comparisons: int = 0
    truncated: int = 0
    unread: int = 0
    skipped: list[LeftOut] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def reasons(self) -> Counter[str]:
        """How many rows were skipped for each reason."""
        return Counter(row.reason for row in self.skipped)

    def count_row(
        self, source: str, row: int, used: int, errors: Sequence[LeftOut], by_option: Mapping[str, int]
    ) -> None:
        """Count one row.

        Args:
            source: The file it is in.
            row: Its number there.
            used: How many comparisons of it are in use.
            errors: What is wrong with it, or with those of its comparisons that are not in use.
            by_option: How many comparisons the format's options leave out of it, by reason.
        """
        self.read += 1
        if used:
            self.kept += 1
            self.left_out.update(by_option)
            self.left_out.update(error.reason for error in errors)
        elif errors:
            self.skipped.append(errors[0])
        else:
            reason = ", ".join(by_option) or "no comparison in it"
            self.skipped.append(LeftOut(source, row, reason, f"{source}, row {row}: {reason}", by_option=True))

    def add(self, other: "SourceReport") -> None:
        """Count what another report on the same source counted."""
        self.read += other.read
        self.kept += other.kept
        self.comparisons += other.comparisons
        self.truncated += other.truncated
        self.unread += other.unread
        self.skipped += other.skipped
        self.left_out += other.left_out

    def lines(self) -> Iterator[str]:
        """For a person: the counts, then the first skipped rows."""
        skipped = f"{len(self.skipped)} skipped" + (f" ({_counted(self.reasons)})" if self.skipped else "")
        unread = f", {self.unread} not read (max_rows)" if self.unread else ""
        yield f"{self.name}: {self.read} rows read, {self.kept} kept, {skipped}{unread}"
        cut = f"{self.comparisons} comparisons, {self.truncated} truncated"
        yield f"  {cut}" + (f", left out of kept rows: {_counted(self.left_out)}" if self.left_out else "")
        for row in self.skipped[:ROWS_PRINTED]:
            yield f"  skipped {row.message.splitlines()[0]}"
        if len(self.skipped) > ROWS_PRINTED:
            yield f"  ... and {len(self.skipped) - ROWS_PRINTED} more"

    def as_dict(self) -> dict[str, Any]:
        rows = [{"source": row.source, "row": row.row, "reason": row.message.splitlines()[0]} for row in self.skipped]
        return {"name": self.name, **_counts([self]), "skipped_rows": rows}


@dataclass
class DataReport:
    """What became of all rows.

    Attributes:
        sources: In the order they were read.
        roles: Cells in use by role.
        labels: Single responses in use by label, where they have one: "1" is good, "0" bad.
        share: Which share of the rows this is about, such as one epoch's on one rank; empty for all of them.
    """

    sources: list[SourceReport] = field(default_factory=list)
    roles: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    share: str = ""

    def source(self, name: str) -> SourceReport:
        """The report on one source, which is new where there was none."""
        for source in self.sources:
            if source.name == name:
                return source
        self.sources.append(SourceReport(name))
        return self.sources[-1]

    def count_example(self, source: SourceReport, example: Example) -> None:
        """Count a comparison in use, as it was encoded."""
        comparison = example.comparison
        source.comparisons += 1
        source.truncated += example.truncated
        self.roles.update(comparison.roles)
        first = comparison.candidates[0]
        if comparison.roles.count(CANDIDATE) == 1 and first.score is not None:
            self.labels[f"{first.score:g}"] += 1

    def add(self, other: "DataReport") -> None:
        """Count what another report counted."""
        for source in other.sources:
            self.source(source.name).add(source)
        self.roles += other.roles
        self.labels += other.labels
        self.share = other.share or self.share

    def clear(self) -> None:
        """Forget all counts."""
        self.sources.clear()
        self.roles.clear()
        self.labels.clear()

    def lines(self) -> Iterator[str]:
        """For a person."""
        for source in self.sources:
            yield from source.lines()
        labels = f"; labels: {_counted(self.labels)}" if self.labels else ""
        yield f"responses by role: {_counted(self.roles)}{labels}"

    def as_dict(self) -> dict[str, Any]:
        """For logs: counts over all sources, and each source with all its skipped rows; plain JSON types only."""
        return {
            **({"share": self.share} if self.share else {}),
            **_counts(self.sources),
            "roles": dict(self.roles),
            "labels": dict(self.labels),
            "sources": [source.as_dict() for source in self.sources],
        }


def refusal(errors: Sequence[LeftOut], read: int) -> UserError:
    """One error for all unusable rows, which lists the first of them."""
    shown = "\n".join(error.message for error in errors[:ERRORS_PRINTED])
    more = f"\n... and {len(errors) - ERRORS_PRINTED} more" if len(errors) > ERRORS_PRINTED else ""
    count = len({(error.source, error.row) for error in errors})
    return UserError(
        f"{count} of {read} rows cannot be used:\n{shown}{more}",
        "Mend them, or leave them out, counted and listed, with data.on_bad_row: skip.",
    )


def _counts(sources: Sequence[SourceReport]) -> dict[str, Any]:
    reasons: Counter[str] = sum((source.reasons for source in sources), Counter())
    left_out: Counter[str] = sum((source.left_out for source in sources), Counter())
    return {
        "read": sum(source.read for source in sources),
        "kept": sum(source.kept for source in sources),
        "skipped": sum(len(source.skipped) for source in sources),
        "comparisons": sum(source.comparisons for source in sources),
        "truncated": sum(source.truncated for source in sources),
        "unread": sum(source.unread for source in sources),
        "skipped_by_reason": dict(reasons),
        "left_out_by_reason": dict(left_out),
    }


def _counted(counts: Counter[str]) -> str:
    shown = ", ".join(f"{name}: {count}" for name, count in counts.most_common(REASONS_PRINTED))
    others = sum(counts.values()) - sum(count for _, count in counts.most_common(REASONS_PRINTED))
    return f"{shown}, other: {others}" if others else shown
