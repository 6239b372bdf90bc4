"""Which tokens of a pair's responses were corrected: those that the other response has not (RLHF-V, arXiv 2312.00849).

They lie outside the runs of at least `SHORTEST_MATCH` tokens that `difflib.SequenceMatcher` finds in both responses, or
are those that the data marks: `comparison.extra["corrected"]` gives ranges of characters, `{"chosen": [[start, end],
...], "rejected": ...}`. A response without such ranges is compared with the other one.

A tensor of tokens here is `(M,)`: the scored tokens of all cells, as `collation` lays them out.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from modalign.core.batch import CHOSEN, REJECTED, Comparison, PreferenceBatch
from modalign.core.errors import RowError
from modalign.modalities.text.chat import is_chat

SHORTEST_MATCH = 3
UNMARKED = -1
LOGPS, SIZES = "corrected_logps", "corrected_sizes"
PROVIDES = frozenset({LOGPS, SIZES})
"""What `corrected_sums` computes."""
MARKS, COLUMN = "corrected", "corrected_spans"
"""The entry of `Comparison.extra` with ranges of characters, which formats of text read from `corrected_spans`."""


def corrected_sums(logps: Tensor, batch: PreferenceBatch) -> dict[str, Tensor]:
    """`(B, K)` each: the summed log-probabilities of each response's corrected tokens, and how many they are.

    Both are 0 for cells other than chosen and rejected.

    Args:
        logps: `(M,)`, of the scored tokens.
        batch: Whose inputs hold `targets`, `cells` and, where the data marks tokens, `corrected`.
    """
    cells, mask = batch.inputs["cells"], corrected_mask(batch)
    number = int(batch.mask.sum())
    sums = logps.new_zeros(number).index_add(0, cells, logps * mask)
    sizes = batch.sizes.new_zeros(number).index_add(0, cells, mask.to(batch.sizes.dtype))
    return {LOGPS: batch.scatter(sums), SIZES: batch.scatter(sizes)}


def corrected_mask(batch: PreferenceBatch) -> Tensor:
    """`(M,)` bool: which of the scored tokens were corrected."""
    inputs = batch.inputs
    counts = torch.bincount(inputs["cells"], minlength=int(batch.mask.sum())).tolist()
    responses = [tuple(tokens.tolist()) for tokens in inputs["targets"].split(counts)]
    flags: list[Sequence[bool]] = [(False,) * count for count in counts]
    for chosen, rejected in _pairs(batch):
        flags[chosen], flags[rejected] = differing(responses[chosen], responses[rejected])
    found = torch.tensor([flag for response in flags for flag in response], device=inputs["targets"].device)
    marks = inputs.get("corrected")
    return found if marks is None else torch.where(marks == UNMARKED, found, marks == 1)


@lru_cache(maxsize=1024)  # policy and reference ask for the same pairs
def differing(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    """Which tokens of two responses lie outside the runs of at least `SHORTEST_MATCH` tokens that both have.

    Unlike in RLHF-V's code, frequent tokens of long responses begin runs too (`autojunk`).
    """
    matcher = SequenceMatcher(None, first, second, autojunk=False)
    runs = [run for run in matcher.get_matching_blocks() if run.size >= SHORTEST_MATCH]
    return _outside(len(first), ((run.a, run.size) for run in runs)), _outside(
        len(second), ((run.b, run.size) for run in runs)
    )


def marked_tokens(
    comparison: Comparison, completions: Sequence[Sequence[int]], kept: Sequence[int], tokenizer: Any
) -> list[Tensor | None]:
    """For each candidate, `(C,)` int8 that is 1 on the tokens that the data marks; None where it marks none.

    Args:
        comparison: Whose `extra` may hold ranges of characters of the chosen and the rejected response.
        completions: The candidates' tokens, before any is cut.
        kept: How many of them are scored.
        tokenizer: That decodes them.

    Raises:
        RowError: The ranges are malformed, or lie outside their response.
    """
    marks = comparison.extra.get(MARKS)
    if marks is None:
        return [None] * len(completions)
    if not isinstance(marks, Mapping):
        raise RowError(f"it is of type {type(marks).__name__}, not a mapping", _CURE, COLUMN)
    return [
        _marked(marks[candidate.role], candidate.response, completion, tokenizer)[:count]
        if candidate.role in (CHOSEN, REJECTED) and marks.get(candidate.role) is not None
        else None
        for candidate, completion, count in zip(comparison.candidates, completions, kept, strict=True)
    ]


def _pairs(batch: PreferenceBatch) -> Iterable[tuple[int, int]]:
    """The numbers of each row's chosen and rejected cell."""
    if CHOSEN not in batch.roles or REJECTED not in batch.roles:
        return []
    numbers = batch.scatter(torch.arange(1, int(batch.mask.sum()) + 1, device=batch.mask.device)) - 1
    both = numbers[:, [batch.column(CHOSEN), batch.column(REJECTED)]].tolist()
    return [(chosen, rejected) for chosen, rejected in both if chosen >= 0 and rejected >= 0]


def _outside(length: int, runs: Iterable[tuple[int, int]]) -> tuple[bool, ...]:
    flags = [True] * length
    for start, size in runs:
        flags[start : start + size] = [False] * size
    return tuple(flags)


def _marked(ranges: Any, response: Any, completion: Sequence[int], tokenizer: Any) -> Tensor:
    content = _said(response)
    mask = torch.zeros(len(completion), dtype=torch.int8)
    whole = _decoded(tokenizer, completion)
    # A tokenizer may drop blanks at the beginning of a text.
    dropped = 0 if content in whole else len(content) - len(content.lstrip())
    begin = whole.find(content if content in whole else content.strip()) - dropped
    if begin + dropped < 0:
        raise RowError("the tokenizer changes the response, so that ranges cannot be told", "Remove the marks.", COLUMN)
    for start, end in _checked(ranges, len(content)):
        first = _tokens_before(tokenizer, completion, max(0, begin + start))
        mask[first : _tokens_to_hold(tokenizer, completion, begin + end)] = 1
    return mask


def _said(response: Any) -> str:
    """The words of a response: of a chat, those of its last message, whose content is text or parts of text."""
    content = response[-1]["content"] if is_chat(response) else response
    return content if isinstance(content, str) else "".join(str(part.get("text", "")) for part in content)


def _checked(ranges: Any, length: int) -> list[tuple[int, int]]:
    if not isinstance(ranges, Sequence) or isinstance(ranges, str):
        raise RowError(f"it holds {type(ranges).__name__}, not a list of ranges", _CURE, COLUMN)
    for each in ranges:
        whole = isinstance(each, Sequence) and len(each) == 2 and all(isinstance(place, int) for place in each)
        if not whole or not 0 <= each[0] < each[1] <= length:
            raise RowError(f"no range of the response's {length} characters: {each!r}", _CURE, COLUMN)
    return [(each[0], each[1]) for each in ranges]


def _tokens_before(tokenizer: Any, completion: Sequence[int], characters: int) -> int:
    """How many tokens end before the character that follows so many."""
    held = _tokens_to_hold(tokenizer, completion, characters)
    return held - (len(_whole(tokenizer, completion[:held])) > characters)


def _tokens_to_hold(tokenizer: Any, completion: Sequence[int], characters: int) -> int:
    """How few tokens hold so many characters, found by bisection."""
    low, high = 0, len(completion)
    while low < high:
        middle = (low + high) // 2
        if len(_whole(tokenizer, completion[:middle])) >= characters:
            high = middle
        else:
            low = middle + 1
    return low


def _whole(tokenizer: Any, completion: Sequence[int]) -> str:
    """The text without a character at its end some of whose tokens are lacking."""
    return _decoded(tokenizer, completion).rstrip("\ufffd")


def _decoded(tokenizer: Any, completion: Sequence[int]) -> str:
    text: str = tokenizer.decode(completion, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text


_CURE = 'Write {"chosen": [[start, end], ...], "rejected": [...]}, in characters of the response.'
