"""Several images or sounds for a prompt with scores, ranks or several judges' scores."""

from collections.abc import Mapping, Sequence
from typing import Any

from modalign.core.errors import ConfigError, UserError, did_you_mean
from modalign.core.format import Format
from modalign.core.modality import Modality
from modalign.plugins.formats.media.lists import MediaLists, borda_shares, from_ranks, with_scores
from modalign.plugins.formats.splitting import Pairs, Scored, Ties

_SCORES = ("scores", "ratings")
_RANKS = ("ranks", "rank")


class MediaRanked(MediaLists):
    """A format of rows with a prompt, a list of responses and a list of scores or ranks.

    Args:
        pairs: What to make of a list; see `Splitting`.
        ties: What to do with equal scores; see `Splitting`.
        min_gap: By how much the scores of a pair must differ.
        rewards: Columns that each hold one judge's list of scores.
        root: The folder that relative paths start from; the folder of the data file where None.
        weight: The column with the weight of a row; every row weighs 1 without it.
        named: For each thing the format reads, the column that an option names for it; None where none does.

    Raises:
        ConfigError: An option is out of range or has no effect.
    """

    def __init__(
        self,
        pairs: Pairs,
        ties: Ties,
        min_gap: float,
        rewards: list[str] | None,
        root: str | None,
        weight: str | None,
        **named: str | None,
    ) -> None:
        judged = {"rewards": rewards, "scores": named.get("scores"), "ranks": named.get("ranks")}
        given = [option for option, value in judged.items() if value is not None]
        if len(given) > 1:
            raise ConfigError(f"The format's {' and '.join(given)} are given.", "Name one of them.")
        if rewards is not None and (not rewards or len(set(rewards)) < len(rewards)):
            raise ConfigError(f"The format's rewards are {rewards}.", "Name each judge's column once.")
        super().__init__(pairs, ties, min_gap, root, weight, **named)
        self.rewards = tuple(rewards or ())

    def matches(self, columns: Mapping[str, Any]) -> bool:
        judged = self.rewards or (self._judged(columns),)
        lists = all(isinstance(columns.get(name), list) for name in judged)
        return self.has_prompt(columns) and self.kind.looks_like_several(columns.get(self._listed(columns))) and lists

    def resolve(self, columns: Mapping[str, Any], source: str, modality: Modality | None = None) -> Format:
        for column in self.rewards:
            if column not in columns:
                raise UserError(
                    f"{source} has no column {column!r}, which data.format names among its rewards.",
                    did_you_mean(column, map(str, columns)),
                )
        return super().resolve(columns, source, modality)

    def scored(self, row: Mapping[str, Any]) -> list[Scored]:
        column = self._listed(row)
        responses = self.several(row, column)
        if self.rewards:
            shares = borda_shares([self.numbers(row, name, responses) for name in self.rewards])
            return with_scores(responses, shares, column)
        judged = self._judged(row)
        found = self.numbers(row, judged, responses)
        return with_scores(responses, from_ranks(found) if self._is_ranks(judged) else found, column)

    def _listed(self, row: Mapping[str, Any]) -> str:
        return self.column(row, f"{self.option}s", self.known)

    def _judged(self, row: Mapping[str, Any]) -> str:
        """The column that says how good each is: the one that an option names, else scores before ranks."""
        named = self.named.get("scores") or self.named.get("ranks")
        known: Sequence[str] = (*_SCORES, *_RANKS)
        return named or next((name for name in known if name in row), known[0])

    def _is_ranks(self, column: str) -> bool:
        return column == self.named.get("ranks") or (column in _RANKS and column != self.named.get("scores"))
