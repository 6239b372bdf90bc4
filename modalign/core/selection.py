"""Some comparisons of a data set."""

from collections.abc import Iterable, Iterator, Sequence

from torch.utils.data import Dataset

from modalign.core.batch import Comparison, Example
from modalign.core.dataset import ComparisonDataset


class Selection(Dataset[Example]):
    """Those at `indices`, in that order; all of them where it is None."""

    def __init__(self, dataset: ComparisonDataset, indices: Sequence[int] | None = None) -> None:
        self._dataset = dataset
        self._indices = range(len(dataset)) if indices is None else indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Example:
        return self._dataset[self._indices[index]]

    def subset(self, rows: Sequence[int]) -> "Selection":
        """Those of its comparisons that have these numbers."""
        return Selection(self._dataset, [self._indices[row] for row in rows])

    def comparison(self, index: int) -> Comparison:
        """One comparison as it is encoded."""
        return self._dataset.comparison(self._indices[index])


class Comparisons(Iterable[Comparison]):
    """Those of some selections, one selection after another, read anew each time they are iterated."""

    def __init__(self, selections: Sequence[Selection]) -> None:
        self._selections = selections

    def __iter__(self) -> Iterator[Comparison]:
        for selection in self._selections:
            for index in range(len(selection)):
                yield selection.comparison(index)
