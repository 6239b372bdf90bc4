"""Finding the objects of a list in a description."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from modalign.core.errors import RowError, UserError, did_you_mean

_WORD = re.compile(r"\w+")
_IRREGULAR = {
    "person": "people",
    "child": "children",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
    "mouse": "mice",
    "ox": "oxen",
}


class ObjectList:
    """Objects, the words they go by, and the plurals of these.

    Args:
        lines: Of one object each: its name and then its synonyms, separated by commas.
        source: Where they are from, for messages.

    Raises:
        UserError: There are none, or two objects go by one word.
    """

    def __init__(self, lines: Iterable[str], source: str = "") -> None:
        self.names: list[str] = []
        self._objects: dict[tuple[str, ...], str] = {}
        for number, line in enumerate(lines):
            terms = [found for term in line.split(",") if (found := words(term))]
            if terms:
                self.names.append(" ".join(terms[0]))
            for term in terms:
                self._add(term, f"{source}, line {number + 1}")
        if not self.names:
            raise UserError(f"{source} holds no objects.", "Write one a line: its name, then synonyms after commas.")
        for term, name in list(self._objects.items()):
            for last in plurals(term[-1]):
                self._objects.setdefault((*term[:-1], last), name)
        self._longest = max(map(len, self._objects))

    @classmethod
    def read(cls, path: Path) -> "ObjectList":
        """The list in a file.

        Raises:
            UserError: It cannot be read, or is no such list.
        """
        try:
            return cls(path.read_text(encoding="utf-8").splitlines(), str(path))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise UserError(f"{path} cannot be read: {reason}", "Check --objects.") from error

    def mentions(self, text: str) -> list[str]:
        """The names of the objects in a text, one a mention, in order; of several readings the longest."""
        said = words(text)
        found: list[str] = []
        place = 0
        while place < len(said):
            length = next((n for n in range(self._longest, 0, -1) if said[place : place + n] in self._objects), 0)
            if length:
                found.append(self._objects[said[place : place + length]])
            place += length or 1
        return found

    def name(self, term: str) -> str:
        """The name of an object that is called by a name or synonym.

        Raises:
            RowError: It is not in the list.
        """
        found = self._objects.get(words(term))
        if found is None:
            near = did_you_mean(term.lower(), [" ".join(each) for each in self._objects])
            raise RowError("an object is not in the list: " + repr(term), near.capitalize(), "objects")
        return found

    def _add(self, term: tuple[str, ...], place: str) -> None:
        known = self._objects.setdefault(term, self.names[-1])
        if known != self.names[-1]:
            raise UserError(f"{place}: {' '.join(term)!r} already stands for {known!r}", "Remove one of the two.")


def words(text: str) -> tuple[str, ...]:
    """The words of a text in lower case; hyphens and apostrophes separate two."""
    return tuple(_WORD.findall(text.lower()))


def plurals(word: str) -> Sequence[str]:
    """How the plural of an English word may be written; a spelling too many does no harm."""
    for single, plural in _IRREGULAR.items():
        if word == single:
            return (plural, f"{word}s")
    if word.endswith("man"):
        return (f"{word[:-3]}men",)
    if word.endswith("y") and word[-2:-1] not in ("a", "e", "i", "o", "u"):
        return (f"{word[:-1]}ies",)
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return (f"{word}es",)
    if word.endswith("fe"):
        return (f"{word[:-2]}ves", f"{word}s")
    if word.endswith("f"):
        return (f"{word[:-1]}ves", f"{word}s")
    return (f"{word}s", f"{word}es") if word.endswith("o") else (f"{word}s",)
