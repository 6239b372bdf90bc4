"""Captions of sounds as events, and what becomes of a caption that says otherwise.

By rules, for English: "A dog barks, followed by rain" is two events with ", followed by " between them.
"""

import re
from dataclasses import dataclass, replace

_IN_ORDER = ("followed by", "and then", "then", "and afterwards", "afterwards", "before", "after", "until")
_TOGETHER = ("as", "while", "and", "with", "along with", "together with", "accompanied by", "over")
_TURNED = {"before": "after", "after": "before"}


def _alternatives(*words: str) -> str:
    return "|".join(re.escape(each) for each in sorted(words, key=len, reverse=True))


_CONNECTOR = re.compile(rf"\s*[,;]?\s+(?:{_alternatives(*_IN_ORDER, *_TOGETHER)})\s+|\s*[,;]\s+", re.IGNORECASE)
_ORDER = re.compile(rf"\s*[,;]?\s+(?:{_alternatives(*_IN_ORDER)})\s+", re.IGNORECASE)
_FIRST = re.compile(r"(?:(?:at )?first|initially),?\s+(?=\S)", re.IGNORECASE)
_OPENING = re.compile(rf"(?P<word>{_alternatives(*_TURNED)})\s", re.IGNORECASE)


@dataclass(frozen=True)
class Caption:
    """What is heard, and the words that join it.

    Attributes:
        events: At least one, in the order in which the caption names them, none with a capital of a sentence's start.
        connectors: One fewer, with the spaces and commas around them.
        capital: Whether the caption begins with a capital.
        end: What stands behind the last event: a full stop.
        start: What stands before the first event, whichever it is: "first ".
    """

    events: tuple[str, ...]
    connectors: tuple[str, ...] = ()
    capital: bool = False
    end: str = ""
    start: str = ""

    @classmethod
    def of(cls, text: str) -> "Caption":
        """Split at commas, and at words that say what comes with what or after what."""
        body = text.strip()
        bare = body.rstrip(".!?")
        word = bare.partition(" ")[0]
        capital = word == "A" or (word[:1].isupper() and not word.isupper())
        told = bare[:1].lower() + bare[1:] if capital else bare
        first = _FIRST.match(told)
        told = told[first.end() :] if first else told
        connectors = [match for match in _CONNECTOR.finditer(told) if match.start() > 0]
        starts = [0, *(match.end() for match in connectors)]
        ends = [*(match.start() for match in connectors), len(told)]
        events = tuple(told[start:end] for start, end in zip(starts, ends, strict=True))
        joined = tuple(match.group() for match in connectors)
        return cls(events, joined, capital, body[len(bare) :], first.group() if first else "")

    def __str__(self) -> str:
        joined = zip(self.connectors, self.events[1:], strict=True)
        told = self.start + self.events[0] + "".join(connector + event for connector, event in joined)
        return (told[:1].upper() + told[1:] if self.capital else told) + self.end

    @property
    def opens_with_order(self) -> bool:
        """Whether it begins with `after` or `before`."""
        return _OPENING.match(self.events[0]) is not None

    @property
    def turns(self) -> int:
        """In how many ways the order of events can be turned round; see `turned`."""
        return 1 if self.opens_with_order else len(self._order())

    def without(self, number: int) -> "Caption":
        """The caption with an event left out, of at least two, and the connector before it (after it, for the first).

        "A dog barks, followed by rain" without the first is "Rain".
        """
        place = max(number - 1, 0)
        return replace(
            self,
            events=self.events[:number] + self.events[number + 1 :],
            connectors=self.connectors[:place] + self.connectors[place + 1 :],
        )

    def with_event(self, number: int, event: str) -> "Caption":
        """The caption with another event in place of one."""
        return replace(self, events=(*self.events[:number], event, *self.events[number + 1 :]))

    def turned(self, number: int) -> "Caption":
        """The caption with what comes before and what comes after exchanged.

        "A dog barks before rain" becomes "Rain before a dog barks", and "After rain, a dog barks" becomes "Before
        rain, a dog barks".

        Args:
            number: Which of the `turns`.
        """
        opening = _OPENING.match(self.events[0])
        if opening:
            word = _TURNED[opening["word"].lower()]
            return self.with_event(0, word + self.events[0][opening.end("word") :])
        order = self._order()
        middle = order[number]
        first = order[number - 1] + 1 if number > 0 else 0
        last = order[number + 1] + 1 if number + 1 < len(order) else len(self.events)
        left, right = range(first, middle + 1), range(middle + 1, last)
        events = [self.events[place] for place in (*right, *left)]
        between = [*(self.connectors[place] for place in right[:-1]), self.connectors[middle]]
        between += [self.connectors[place] for place in left[:-1]]
        return replace(
            self,
            events=(*self.events[:first], *events, *self.events[last:]),
            connectors=(*self.connectors[:first], *between, *self.connectors[last - 1 :]),
        )

    def _order(self) -> list[int]:
        """The numbers of the connectors that say what comes after what."""
        return [number for number, connector in enumerate(self.connectors) if _ORDER.fullmatch(connector)]
