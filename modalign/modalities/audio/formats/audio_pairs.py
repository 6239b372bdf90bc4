"""Pairs of sounds, as Audio-Alpaca (arXiv 2404.09956) has them: the better and the worse one for a prompt."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import Comparison
from modalign.core.errors import ConfigError, RowError, UserError, did_you_mean
from modalign.core.format import Format
from modalign.core.modality import Modality
from modalign.modalities.audio.formats.base import AudioFormat
from modalign.plugins.formats import values
from modalign.plugins.formats.media.pairs import MediaPairs

_SCORES = (("chosen_score", "score_chosen", "score_w"), ("rejected_score", "score_rejected", "score_l"))
_STRATEGY = "strategy"
_OTHER_STRATEGY = "strategy not among strategies"


class AudioPairs(MediaPairs, AudioFormat):
    """`prompt` (or `caption`) with the sounds `chosen` and `rejected` (or `chosen_audio`, `winner`, ...).

    A sound is written as for `audio_captions`. Beside them a row may have the scores `chosen_score` and
    `rejected_score` (or `score_w` and `score_l`), and `strategy`: how the rejected sound was made.

    Args:
        prompt: The column with the prompt, where it is called otherwise.
        chosen: The column with the better sound, where it is called otherwise.
        rejected: The column with the other sound, where it is called otherwise.
        strategies: Leave out, counted, rows whose `strategy` is none of these.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths start from; the folder of the data file where None.

    Raises:
        ConfigError: `strategies` is empty.
    """

    name = "audio_pairs"
    wants: ClassVar[str] = "prompt (or caption), text; chosen and rejected, sounds"
    chosen_names = ("chosen", "chosen_audio", "audio_chosen", "chosen_path", "chosen_file_name", "winner")
    rejected_names = ("rejected", "rejected_audio", "audio_rejected", "rejected_path", "rejected_file_name", "loser")

    def __init__(
        self,
        prompt: str | None = None,
        chosen: str | None = None,
        rejected: str | None = None,
        strategies: list[str] | None = None,
        weight: str | None = None,
        root: str | None = None,
    ) -> None:
        if strategies is not None and not strategies:
            raise ConfigError("The format's strategies is empty.", "Name one, or leave the option out for all rows.")
        super().__init__(root, weight, prompt=prompt, chosen=chosen, rejected=rejected)
        self.strategies = strategies

    def resolve(self, columns: Mapping[str, Any], source: str, modality: Modality | None = None) -> Format:
        if self.strategies is not None and _STRATEGY not in columns:
            raise UserError(
                f"{source} has no column {_STRATEGY!r}, by which the format's strategies chooses rows.",
                f"Remove strategies; {did_you_mean(_STRATEGY, map(str, columns))}",
            )
        return super().resolve(columns, source, modality)

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        return super().parse(row) if self._is_wanted(row) else []

    def left_out(self, row: Mapping[str, Any]) -> Mapping[str, int]:
        return {} if self._is_wanted(row) else {_OTHER_STRATEGY: 1}

    def scores(self, row: Mapping[str, Any]) -> tuple[float | None, float | None]:
        chosen, rejected = (self._score(row, names) for names in _SCORES)
        if (chosen is None) != (rejected is None):
            there, missing = (_SCORES[0][0], _SCORES[1][0]) if rejected is None else (_SCORES[1][0], _SCORES[0][0])
            raise RowError(f"a {there} without a {missing}", "Give both scores, or neither.", missing)
        return chosen, rejected

    def _score(self, row: Mapping[str, Any], names: Sequence[str]) -> float | None:
        column = next((name for name in names if row.get(name) not in (None, "")), None)
        return None if column is None else values.number(row, row[column], column)

    def _is_wanted(self, row: Mapping[str, Any]) -> bool:
        if self.strategies is None:
            return True
        return values.text(values.required(row, _STRATEGY), _STRATEGY) in self.strategies
