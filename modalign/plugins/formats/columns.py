"""Any schema, by naming its columns."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalign.core.batch import Comparison
from modalign.core.errors import ConfigError, RowError, UserError, did_you_mean
from modalign.core.format import Format
from modalign.core.modality import Modality
from modalign.core.objectives.base import Feedback
from modalign.core.sources import TextRow
from modalign.plugins.formats.demonstration import Demonstration
from modalign.plugins.formats.ranked import Ranked
from modalign.plugins.formats.splitting import Pairs, Ties
from modalign.plugins.formats.text_format import TextFormat
from modalign.plugins.formats.trl_preference import TrlPreference
from modalign.plugins.formats.unpaired import Unpaired
from modalign.plugins.formats.values import shown

_FORMATS: dict[frozenset[str], tuple[type[Format], str]] = {
    frozenset({"chosen", "rejected"}): (TrlPreference, "may"),
    frozenset({"completion", "label"}): (Unpaired, "must"),
    frozenset({"completions", "scores"}): (Ranked, "must"),
    frozenset({"completion"}): (Demonstration, "must"),
    frozenset({"messages"}): (Demonstration, "cannot"),
    frozenset({"text"}): (Demonstration, "cannot"),
}
"""What the named columns make of a row, and whether `prompt` is named with them."""


class ColumnsFormat(TextFormat):
    """Reads the columns that its options name, and parses them as the format that has these options' names for columns.

    A name may lead into a column: `answers.0.text` is the text of the first answer, `answers.*.text` the list of all
    texts. Name `chosen` and `rejected` (see `trl_preference`), `completion` and `label` (`unpaired`), `completions` and
    `scores` (`ranked`), `completion` alone, `messages`, or `text` (`demonstration`).

    Args:
        prompt: The column with the prompt.
        chosen: With the better response.
        rejected: With the other response.
        completion: With the only response.
        label: With whether that is good.
        completions: With a list of responses.
        scores: With their scores.
        messages: With a conversation that ends in the response.
        text: With text without a prompt.
        tools: With the tools a chat template is told of.
        chat_template_kwargs: With other variables of a chat template.
        other_prompt: With another prompt, for objectives that compare a response under two.
        corrected_spans: With the ranges of characters that were corrected, for `dense_dpo`.
        weight: With the weight of the row.
        pairs: What to make of a list, as for `ranked`.
        ties: The same.
        min_gap: The same.

    Raises:
        ConfigError: The columns named make no format.
    """

    name = "columns"
    wants: ClassVar[str] = "whatever its options name"

    def __init__(
        self,
        prompt: str | None = None,
        chosen: str | None = None,
        rejected: str | None = None,
        completion: str | None = None,
        label: str | None = None,
        completions: str | None = None,
        scores: str | None = None,
        messages: str | None = None,
        text: str | None = None,
        tools: str | None = None,
        chat_template_kwargs: str | None = None,
        other_prompt: str | None = None,
        corrected_spans: str | None = None,
        weight: str | None = None,
        pairs: Pairs | None = None,
        ties: Ties | None = None,
        min_gap: float | None = None,
    ) -> None:
        answers = _given(
            chosen=chosen,
            rejected=rejected,
            completion=completion,
            label=label,
            completions=completions,
            scores=scores,
            messages=messages,
            text=text,
        )
        others = _given(
            prompt=prompt,
            tools=tools,
            chat_template_kwargs=chat_template_kwargs,
            other_prompt=other_prompt,
            corrected_spans=corrected_spans,
            weight=weight,
        )
        options = _given(pairs=pairs, ties=ties, min_gap=min_gap)
        self.paths: dict[str, str] = {**answers, **others}
        self.format = _format_for(frozenset(answers), prompt, options, weight)

    def matches(self, columns: Mapping[str, Any]) -> bool:
        """Never by itself: it has to be asked for."""
        return False

    def resolve(self, columns: Mapping[str, Any], source: str, modality: Modality | None = None) -> Format:
        super().resolve(columns, source, modality)
        for name, path in self.paths.items():
            if path not in columns and path.split(".")[0] not in columns:
                known = did_you_mean(path, map(str, columns))
                raise UserError(f"{source} has no column {path!r}, which data.format names as {name}.", known)
        return self

    def feedback(self, columns: Mapping[str, Any]) -> frozenset[Feedback]:
        return self.format.feedback(columns)

    def parse(self, row: Mapping[str, Any]) -> Sequence[Comparison]:
        try:
            return self.format.parse(self._renamed(row))
        except RowError as error:
            raise self._with_path(error) from None

    def left_out(self, row: Mapping[str, Any]) -> Mapping[str, int]:
        return self.format.left_out(self._renamed(row))

    def _renamed(self, row: Mapping[str, Any]) -> dict[str, Any]:
        found = {name: _find(row, path) for name, path in self.paths.items()}
        return TextRow(found) if isinstance(row, TextRow) else found

    def _with_path(self, error: RowError) -> RowError:
        """The error with the user's own name for the column."""
        name, bracket, rest = (error.column or "").partition("[")
        if name in self.paths:
            error.column = self.paths[name] + bracket + rest
        return error


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _format_for(answers: frozenset[str], prompt: str | None, options: dict[str, Any], weight: str | None) -> Format:
    if answers not in _FORMATS:
        named = ", ".join(sorted(answers)) or "no response"
        known = "; ".join(" and ".join(sorted(names)) for names in _FORMATS)
        raise ConfigError(f"The columns named for data.format make no format: {named}.", f"Name one of: {known}.")
    kind, has_prompt = _FORMATS[answers]
    named = " and ".join(sorted(answers))
    if has_prompt == "must" and prompt is None:
        raise ConfigError(f"data.format names {named} and no prompt.", "Name the column of the prompt too.")
    if has_prompt == "cannot" and prompt is not None:
        raise ConfigError(f"data.format names {named} and a prompt, which would not be read.", "Name one of them.")
    if options and kind is not Ranked:
        raise ConfigError(
            f"data.format sets {', '.join(options)}, which acts on completions and scores only.", "Remove it."
        )
    return kind(weight=None if weight is None else "weight", **options)  # type: ignore[call-arg]


def _find(row: Mapping[str, Any], path: str) -> Any:
    """The value at a path; a column whose own name holds dots goes first."""
    return row[path] if path in row else _follow(row, path.split("."), path)


def _follow(value: Any, steps: Sequence[str], path: str) -> Any:
    for number, step in enumerate(steps):
        if step == "*" and isinstance(value, list):
            return [_follow(item, steps[number + 1 :], path) for item in value]
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (KeyError, IndexError, ValueError, TypeError):
            there = f"what has {', '.join(map(str, value))}" if isinstance(value, Mapping) else shown(value)
            raise RowError(
                f"missing column: no {step!r} in {there}", "Correct the path, or remove the row.", path
            ) from None
    return value
