"""Reading several responses to a prompt with their scores."""

from collections.abc import Mapping, Sequence
from typing import Any

from modalign.core.errors import RowError
from modalign.plugins.formats.chat import Content, as_content, content, response, same_form
from modalign.plugins.formats.splitting import Scored
from modalign.plugins.formats.values import items, number, required

PROMPTS = ("prompt", "instruction")
LISTS = ("completions", "responses")
SCORE_LISTS = ("scores", "ratings")
_RESPONSES = ("response", "completion", "text", "content")
_SCORES = ("score", "rating", "overall_score")


def looks_scored(columns: Mapping[str, Any], score: str | None) -> bool:
    """Whether rows with these columns hold a prompt and a list of responses with scores."""
    responses = columns.get(first_of(columns, LISTS))
    if not isinstance(responses, list) or not responses or first_of(columns, PROMPTS) not in columns:
        return False
    if isinstance(responses[0], Mapping):
        return (score or first_of(responses[0], _SCORES)) in responses[0]
    return isinstance(columns.get(score or first_of(columns, SCORE_LISTS)), list)


def read_scored(row: Mapping[str, Any], score: str | None) -> tuple[Content, list[Scored]]:
    """The prompt and its responses, two at least.

    Args:
        row: With the responses as mappings that hold their scores, or with a list of scores beside them.
        score: What the scores are called, where it is none of the known names.

    Raises:
        RowError: Something is missing, of a wrong type, or the lists differ in length.
    """
    prompt = content(row, first_of(row, PROMPTS))
    column = first_of(row, LISTS)
    answers = items(required(row, column), column)
    if len(answers) < 2:
        raise RowError("only one response: there is nothing to compare", "Add responses, or remove the row.", column)
    if all(isinstance(answer, Mapping) for answer in answers):
        scored = [_nested(row, answer, f"{column}[{k}]", score) for k, answer in enumerate(answers)]
    else:
        scored = _beside(row, answers, column, score or first_of(row, SCORE_LISTS))
    for each in scored:
        same_form(prompt, each.response, each.column)
        response(each.response, each.column)
    return prompt, scored


def first_of(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """The first of these names that the row has; the first of all where it has none."""
    return next((name for name in names if name in row), names[0])


def _nested(row: Mapping[str, Any], answer: Mapping[str, Any], place: str, score: str | None) -> Scored:
    names = first_of(answer, _RESPONSES), score or first_of(answer, _SCORES)
    for name in names:
        if answer.get(name) is None:
            there = ", ".join(map(str, answer)) or "nothing"
            raise RowError(f"missing key: {name!r}; there is {there}", "Fill it in, or remove the row.", place)
    said, points = (answer[name] for name in names)
    return Scored(as_content(said, f"{place}.{names[0]}"), number(row, points, f"{place}.{names[1]}"), place)


def _beside(row: Mapping[str, Any], answers: list[Any], column: str, score: str) -> list[Scored]:
    scores = items(required(row, score), score)
    if len(scores) != len(answers):
        raise RowError(
            f"lists of different lengths: {len(answers)} {column} and {len(scores)} {score}",
            "Give every response one score, or remove the row.",
            score,
        )
    return [
        Scored(as_content(answer, f"{column}[{k}]"), number(row, points, f"{score}[{k}]"), f"{column}[{k}]")
        for k, (answer, points) in enumerate(zip(answers, scores, strict=True))
    ]
