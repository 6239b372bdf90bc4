"""How fast a run trains, validation and checkpoints not counted."""

import time


class Throughput:
    """Counts rows and units between two logs."""

    def __init__(self) -> None:
        self._clock = time.perf_counter()
        self._seconds = 0.0
        self._rows = 0
        self._units = 0.0

    def resume(self) -> None:
        """Start the clock after something that is not training."""
        self._clock = time.perf_counter()

    def count(self, rows: int, units: float) -> None:
        """One micro-batch was trained on: `rows` comparisons, `units` of what the modality counts."""
        now = time.perf_counter()
        self._seconds += now - self._clock
        self._clock = now
        self._rows += rows
        self._units += units

    def rates(self, world: int, units: str) -> dict[str, float]:
        """Rates since the last call, of this rank times the number of ranks; `units` as `Modality.units` names them."""
        seconds = max(self._seconds, 1e-9)
        rates = {
            "throughput/samples_per_second": world * self._rows / seconds,
            f"throughput/{units}_per_second": world * self._units / seconds,
        }
        self._seconds, self._rows, self._units = 0.0, 0, 0.0
        return rates
