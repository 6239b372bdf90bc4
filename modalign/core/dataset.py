"""Comparisons by number: rows are read, parsed and encoded when asked for, after one look at all of them."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Literal

from torch.utils.data import Dataset

from modalign.core.batch import Comparison, Example
from modalign.core.data_report import refusal
from modalign.core.errors import ConfigError, UserError
from modalign.core.extra_cells import Place, add_cells, check_extra_roles
from modalign.core.format import Format
from modalign.core.keys import key_seed
from modalign.core.modality import Modality
from modalign.core.parsing import parse_row
from modalign.core.scan import Scan
from modalign.core.sources import RowSource


class ComparisonDataset(Dataset[Example]):
    """The usable comparisons of some sources, in their order.

    Every row is parsed and encoded once at construction, so that bad data is told before training starts; a terminal
    shows a bar meanwhile. Memory holds where each comparison is, not what.

    Args:
        sources: Where the rows are.
        format: Their schema, resolved for each source by its columns.
        modality: Encodes comparisons.
        on_bad_row: `error` refuses data with unusable rows; `skip` leaves them out, and counts and lists them.
        extra_roles: Cells that the objective wants beside the data's own. Those made from another row (a `mismatched`
            cell holds its response) take the latest before it in its source with another prompt, or whatever
            `Modality.other_key` says must differ; the first rows, which have none, take one from the end.
        max_rows: Look at the first rows only.
        check: Refuses comparisons that do not say what the objective reads, by a RowError.

    Attributes:
        report: What became of each row.
        formats: The resolved format of each source.
        feedback: What every source says.

    Raises:
        UserError: Rows are unusable and `on_bad_row` is `error`; one message lists them. Or no row is usable.
        ConfigError: An extra role cannot be made.
    """

    def __init__(
        self,
        sources: Sequence[RowSource],
        format: Format,
        modality: Modality,
        *,
        on_bad_row: Literal["error", "skip"] = "error",
        extra_roles: Sequence[str] = (),
        max_rows: int | None = None,
        check: Callable[[Comparison], None] | None = None,
    ) -> None:
        if not sources:
            raise UserError("There is nothing to read.", "Name a file, a folder or a hub id.")
        check_extra_roles(extra_roles, modality)
        columns = [source.columns() for source in sources]
        self.sources = tuple(sources)
        self.formats = tuple(format.resolve(names, s.name, modality) for s, names in zip(sources, columns, strict=True))
        self.feedback = frozenset.intersection(
            *(resolved.feedback(names) for resolved, names in zip(self.formats, columns, strict=True))
        )
        self.modality = modality
        self.extra_roles = tuple(extra_roles)
        scan = Scan(self.sources, self.formats, modality, self.extra_roles, max_rows, check)
        scan.run()
        self.report = scan.report
        read = sum(source.read for source in scan.report.sources)
        if scan.errors and on_bad_row == "error":
            raise refusal(scan.errors, read)
        if not scan.places:
            raise UserError(f"None of {read} rows can be used.\n" + "\n".join(scan.report.lines()), "See the reasons.")
        self._places, self._prompts, self._others = scan.places, scan.prompts, scan.others

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Example:
        """Encode one comparison.

        Raises:
            IndexError: There is no such comparison.
        """
        return self.modality.encode(self.comparison(index))

    def comparison(self, index: int) -> Comparison:
        """One comparison as it is encoded, extra cells included.

        Raises:
            IndexError: There is no such comparison.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"comparison {index} of {len(self)}")
        other = self._read(self._others[index]) if self._others else None
        return add_cells(self._read(self._places[index]), self.extra_roles, self.modality, other)

    @property
    def prompt_keys(self) -> Sequence[int]:
        """A number for each comparison's prompt; equal prompts have equal numbers."""
        return self._prompts

    def _read(self, place: Place) -> Comparison:
        number, row, part = place
        source = self.sources[number]
        return parse_row(source[row], self.formats[number], source.place(row))[part]


def split_rows(dataset: ComparisonDataset, rows: int, seed: int) -> tuple[list[int], list[int]]:
    """Hold comparisons out, so that no prompt stands on both sides.

    Prompts are taken in an order that depends on the seed and on their content only; one that would exceed `rows` is
    passed over. The same prompt therefore tends to stay on its side when the data grows.

    Args:
        dataset: What to split.
        rows: How many comparisons to hold out, at most; fewer where prompts with several comparisons do not fit.
        seed: Another seed holds others out.

    Returns:
        The indices that remain and those that are held out, each in the order of the data.

    Raises:
        ConfigError: Nothing can be held out, or nothing would remain.
    """
    groups: dict[int, list[int]] = defaultdict(list)
    for index, prompt in enumerate(dataset.prompt_keys):
        groups[prompt].append(index)
    held_out: list[int] = []
    for prompt in sorted(groups, key=lambda prompt: key_seed(seed, "held out", prompt)):
        if len(held_out) + len(groups[prompt]) <= rows:
            held_out += groups[prompt]
    if not held_out or len(held_out) == len(dataset):
        raise ConfigError(
            f"{rows} of {len(dataset)} comparisons, which have {len(groups)} different prompts, cannot be held out.",
            "Hold out another number, or give a validation file.",
        )
    chosen = set(held_out)
    return [index for index in range(len(dataset)) if index not in chosen], sorted(held_out)
