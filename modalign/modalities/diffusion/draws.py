"""What a likelihood draws, each a pure function of (seed, epoch, row, draw) and never of the batch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from modalign.core.batch import CANDIDATE, EVALUATION, PreferenceBatch
from modalign.core.keys import generator, run_seed
from modalign.modalities.diffusion.timesteps import Timesteps


@dataclass(frozen=True)
class RowDraws:
    """The keys of a batch's randomness.

    Args:
        rows: The rows' numbers.
        epoch: The pass over the data, counted modulo the cycle in which draws repeat.
        cells: For each existing cell of the batch, row-major: its row's place in `rows`, and the name under which it
            draws noise; cells of one row that share a name share their noise.
    """

    rows: Sequence[int]
    epoch: int
    cells: Sequence[tuple[int, str]]

    @classmethod
    def of(cls, batch: PreferenceBatch, cycle: int | None = None) -> "RowDraws":
        """The keys of a batch's existing cells.

        Members of a pair share their noise, as in Diffusion-DPO's code; candidates of a list have their own (RankDPO,
        arXiv 2410.18013). All cells of a row share its time.

        Args:
            batch: Whose rows' numbers, epoch and roles count.
            cycle: After how many epochs draws repeat; None for never.
        """
        names = [_noise_name(batch.roles, column) for column in range(len(batch.roles))]
        cells = [(row, names[column]) for row, column in batch.mask.nonzero().tolist()]
        return cls(batch.index.tolist(), drawn_epoch(batch.epoch, cycle), cells)

    def only(self, cells: Sequence[int]) -> "RowDraws":
        """The keys of some of the cells, by their numbers."""
        return replace(self, cells=[self.cells[cell] for cell in cells])

    def positions(self, timesteps: Timesteps, count: int, draw: int) -> Tensor:
        """`(N,)` float64 on the CPU: each cell's position, one for all cells of a row.

        Args:
            timesteps: What they are distributed as.
            count: The number of time steps of the noise process.
            draw: Which of several draws.

        Raises:
            ConfigError: The process has no such time steps.
        """
        of_row: dict[int, float] = {}
        for row, _ in self.cells:
            if row not in of_row:
                of_row[row] = timesteps.position(self._generator(row, draw, "timestep"), count)
        return torch.tensor([of_row[row] for row, _ in self.cells], dtype=torch.float64)

    def noise(self, shape: Sequence[int], draw: int, purpose: str = "noise") -> Tensor:
        """`(N, *shape)` standard normal float32, on the CPU, so that every device sees the same.

        Args:
            shape: Of one cell.
            draw: Which of several draws.
            purpose: What it is for; another purpose draws other numbers.
        """
        drawn: dict[tuple[int, str], Tensor] = {}
        for row, name in self.cells:
            if (row, name) not in drawn:
                source = self._generator(row, draw, f"{purpose} {name}")
                # The default dtype is the run's precision while it trains.
                drawn[row, name] = torch.randn(*shape, generator=source, dtype=torch.float32)
        return torch.stack([drawn[cell] for cell in self.cells])

    def _generator(self, row: int, draw: int, purpose: str) -> torch.Generator:
        return generator(run_seed(), self.epoch, self.rows[row], draw, purpose)


def drawn_epoch(epoch: int, cycle: int | None) -> int:
    """The epoch whose draws this one repeats, where they do so after `cycle` epochs; evaluation has its own."""
    return epoch % cycle if cycle and epoch != EVALUATION else epoch


def _noise_name(roles: Sequence[str], column: int) -> str:
    """The n-th candidate of every row stands in the n-th column of candidates, however long other rows' lists are."""
    return f"candidate {roles[:column].count(CANDIDATE)}" if roles[column] == CANDIDATE else "pair"
