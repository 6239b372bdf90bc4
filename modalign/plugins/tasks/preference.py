"""Held-out preference accuracy: how often a policy finds the chosen response likelier than what it is compared to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from modalign.core.batch import CHOSEN, REJECTED, Example, under
from modalign.core.errors import ConfigError, RowError, did_you_mean
from modalign.core.figures import Ratio
from modalign.core.format import Format
from modalign.core.modality import Modality
from modalign.core.objectives.base import Feedback
from modalign.core.scoring import role_likelihoods
from modalign.core.task import Row, Task
from modalign.plugins.formats.auto import AutoFormat

if TYPE_CHECKING:
    from modalign.core.dataset import ComparisonDataset

PER_TOKEN = "per unit"
OVER_BASE = "over base"


class PreferenceAccuracy(Task):
    """Share of comparisons in which the policy finds the chosen response likelier: as a sum, per unit, over the base.

    "Over base" compares by how much more likely than before training a response has become, which is what DPO trains;
    it is there where the model before training is asked too. Equal values count one half.

    Args:
        data: Pairs of any format, in a file or folder.
        format: Their format; chosen by the columns where it is left out.
        contrast: Compare the chosen response under another context too, such as other_image or other_prompt, where the
            modality and the data have one.
        batch_size: Comparisons at once.
        on_bad_row: Whether unusable rows are refused, or skipped and told.
    """

    name = "preference"

    def __init__(
        self,
        data: Path,
        format: Format | None = None,
        contrast: str | None = None,
        batch_size: int = 8,
        on_bad_row: Literal["error", "skip"] = "error",
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}", "Give at least 1.")
        self.data = data
        self.format = format or AutoFormat()
        self.contrast = contrast
        self.batch_size = batch_size
        self.on_bad_row = on_bad_row

    @property
    def extra_roles(self) -> tuple[str, ...]:
        """Cells wanted beside the data's own."""
        return () if self.contrast is None else (under(CHOSEN, self.contrast),)

    def check(self, modality: Modality) -> None:
        """See `Task.check`.

        Raises:
            ConfigError: The modality does not make the cells of this contrast.
        """
        super().check(modality)
        if not set(self.extra_roles) <= modality.extra_roles:
            known = [role.partition("@")[2] for role in modality.extra_roles if role.startswith(f"{CHOSEN}@")]
            raise ConfigError(
                f"contrast is {self.contrast!r}, and the modality {modality.name!r} makes no such cells",
                did_you_mean(str(self.contrast), known).capitalize(),
            )

    def items(self, modality: Modality, device: torch.device) -> Sequence[Any]:
        """The data's comparisons; see `Task.items`.

        Raises:
            ConfigError: The rows are no pairs.
        """
        from modalign.core.dataset import ComparisonDataset
        from modalign.core.selection import Comparisons, Selection
        from modalign.core.sources import open_rows

        source = open_rows(self.data)
        columns = source.columns()
        if Feedback.PAIRWISE not in self.format.resolve(columns, source.name, modality).feedback(columns):
            raise ConfigError(f"{self.data} holds no pairs of a chosen and a rejected response.", "Give pairs.")
        dataset = ComparisonDataset(
            [source], self.format, modality, on_bad_row=self.on_bad_row, extra_roles=self.extra_roles
        )
        print("\n".join(dataset.report.lines()), flush=True)
        modality.prepare(Comparisons([Selection(dataset)]), device)
        return _Numbered(dataset)

    def answer(self, modality: Modality, model: nn.Module, items: Sequence[Any]) -> list[Row]:
        """Log-probabilities and sizes by role; see `Task.answer`."""
        found = role_likelihoods(modality, model, [example for _, example in items], [number for number, _ in items])
        return [_row(example, likelihoods) for (_, example), likelihoods in zip(items, found, strict=True)]

    def measures(self, rows: Sequence[Row], base: Sequence[Row] | None = None) -> dict[str, Ratio | float]:
        """Shares by what the chosen response is compared to; see `Task.measures`."""
        measures: dict[str, Ratio | float] = {}
        for role in (REJECTED, *self.extra_roles):
            name = f"{CHOSEN} > {role}"
            values = [_pair(row, role) for row in rows]
            measures[name] = Ratio.mean([_share(chosen, other) for (chosen, _), (other, _) in values])
            if any(size != 1 for pair in values for _, size in pair):
                means = [(chosen / max(c, 1), other / max(o, 1)) for (chosen, c), (other, o) in values]
                measures[f"{name}, {PER_TOKEN}"] = Ratio.mean([_share(*pair) for pair in means])
            if base is not None:
                before = [_pair(row, role) for row in base]
                gains = [(a[0][0] - b[0][0], a[1][0] - b[1][0]) for a, b in zip(values, before, strict=True)]
                measures[f"{name}, {OVER_BASE}"] = Ratio.mean([_share(*pair) for pair in gains])
        return measures


class _Numbered(Sequence[tuple[int, Example]]):
    """A data set's examples with their numbers."""

    def __init__(self, dataset: "ComparisonDataset") -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: Any) -> Any:
        return index, self._dataset.modality.encode(self._dataset.comparison(index))


def _row(example: Example, likelihoods: Mapping[str, tuple[float, float]]) -> Row:
    comparison = example.comparison
    if CHOSEN not in likelihoods or REJECTED not in likelihoods:
        raise RowError(
            f"there is no chosen and rejected response, but {', '.join(comparison.roles)}", "Give pairs."
        ).at(comparison.source, comparison.row)
    return {
        "source": comparison.source,
        "row": comparison.row,
        "logps": {role: logp for role, (logp, _) in likelihoods.items()},
        "sizes": {role: size for role, (_, size) in likelihoods.items()},
    }


def _pair(row: Row, role: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Log-probability and size of the chosen response, and of what it is compared to."""
    chosen, other = ((row["logps"][name], row["sizes"][name]) for name in (CHOSEN, role))
    return chosen, other


def _share(first: float, second: float) -> float:
    return 0.5 if first == second else float(first > second)
