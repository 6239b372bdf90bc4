"""Re-Align's strategic masking: words that say what is in an image become blanks.

Re-Align has a large language model find the words on objects, attributes and relations. Here a list of words says which
they are; without one, every word counts that is not a mere function word.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch

from modalign.core.errors import UserError
from modalign.core.keys import generator

BLANK = "____"

WORDS_ALL_BLANKED = 12
"""Of a response with more content words, only a share is blanked, so that what is left says what is asked for."""

# Words of place (left, above), number and degree are not here: they say what is in an image.
_LISTED = """
a about after again all also although am an and another any are as at be because been before being both but by
can could did do does doing done each either else etc ever every few for from had has have having he her here
hers herself him himself his how however i if in indeed into is it its itself just let may me might mine more
most much must my myself neither no nor not now of on only or other others our ours ourselves own perhaps
quite rather really s same shall she should so some such t than that the their theirs them themselves then
there therefore these they this those though thus to too until up upon us very was we well were what when
where whether which while who whom whose why will with within without would yes yet you your yours yourself
yourselves image images picture pictures photo photograph shows show showing shown see seen seems appears
depicts overall scene
"""
FUNCTION_WORDS = frozenset(_LISTED.split())

_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")


@dataclass(frozen=True)
class Masking:
    """Which words become blanks.

    Attributes:
        words: In lower case, words and phrases that are blanked wherever they stand; None for every content word.
        share: Which share of a long response's content words is blanked; without effect where `words` are given.
        seed: Decides which of them.
    """

    words: Collection[str] | None = None
    share: float = 0.5
    seed: int = 0

    def masked(self, text: str) -> str | None:
        """The text with `BLANK`s, neighbouring words sharing one; None where it has nothing to blank.

        The same text is always blanked in the same way.
        """
        spans = self._named(text, self.words) if self.words is not None else self._content(text)
        if not spans:
            return None
        pieces, end = [], 0
        for start, stop in _joined(text, spans):
            pieces += [text[end:start], BLANK]
            end = stop
        return "".join([*pieces, text[end:]])

    def _named(self, text: str, words: Collection[str]) -> list[tuple[int, int]]:
        pattern = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
        return [match.span() for match in re.finditer(rf"(?<!\w)(?:{pattern})(?!\w)", text, re.IGNORECASE)]

    def _content(self, text: str) -> list[tuple[int, int]]:
        spans = [word.span() for word in _WORD.finditer(text) if word[0].lower() not in FUNCTION_WORDS]
        if len(spans) <= WORDS_ALL_BLANKED:
            return spans
        count = max(1, round(self.share * len(spans)))
        drawn = torch.randperm(len(spans), generator=generator(self.seed, "mask", text))[:count]
        return [spans[place] for place in sorted(drawn.tolist())]


def read_words(path: Path) -> frozenset[str]:
    """The words and phrases of a file, one a line, in lower case.

    Raises:
        UserError: It cannot be read, or holds none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"--words: {path} cannot be read: {reason}", "Give a text file with a word a line.") from error
    words = frozenset(line.strip().lower() for line in lines if line.strip())
    if not words:
        raise UserError(f"--words: {path} holds no words", "Write one a line.")
    return words


def _joined(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans with nothing but spaces between them as one."""
    joined = [spans[0]]
    for start, stop in spans[1:]:
        if text[joined[-1][1] : start].strip(" "):
            joined.append((start, stop))
        else:
            joined[-1] = (joined[-1][0], stop)
    return joined
