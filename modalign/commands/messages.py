"""jsonargparse's error messages in words: which key, what is wrong, what was meant."""

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

_KEY = re.compile(r'Parser key "(?P<key>[^"]+)":')
_CLASS = re.compile(r"Problem with given class_path '(?P<name>[^']*)':")
_LITERAL = re.compile(r"Expected a (?:typing\.)?Literal\[(?P<choices>.*)\](?:\. Got value: (?P<value>.*))?$")
_TYPE = re.compile(
    r"Expected an? (?:<class '(?P<type>[\w.]+)'>|(?P<other>[\w.\[\], |]+?))(?:\. Got value: (?P<value>.*))?$"
)
_GIVEN = re.compile(r"Given value: (?P<value>.*)")
_ABSTRACT = re.compile(r"Expected an instantiatable class, but (?P<name>[\w.]+) is abstract")
_NOISE = re.compile(
    r"Expected a path but .* either not accessible or invalid|Does not validate against any of the Union subtypes"
    r"|Subtypes: .*|Errors:|Given value type: .*|Subclass types expect one of:|- a class path \(str\)"
    r"|- a dict .*|Expected a <class 'NoneType'>.*"
    r"|no tensor is called .*"  # where a number may also be a tensor, which no config can name
)
_CALLABLE = re.compile(r"Type typing\.Callable.* expects a function or a callable class: ")
_NO_SPEC = re.compile(r"[Ee]xpected (?:an )?import path or a subclass spec, but got (?P<value>\w+)")
_GOT = re.compile(r"\.? Got value: .*$")
_SPEC = re.compile(r"\.? Got value: Namespace\(.*\)$")
_WORDS = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false", "list": "a list"}


@dataclass(frozen=True)
class Message:
    """What a parser found wrong.

    Attributes:
        key: The config key at fault, with dots; empty where none is named.
        text: What is wrong with it.
    """

    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.key}: {self.text}" if self.key else self.text


def readable(message: str) -> Message:
    """Take a message of jsonargparse apart, and put it in a sentence.

    Where a value fits none of several types, what is wrong with the first of them is told.
    """
    keys: list[str] = []
    choices: list[str] = []
    wanted: list[str] = []
    other: list[str] = []
    given = ""
    for line in message.splitlines():
        line, found = _unwrapped(line)
        if not other:
            keys += found
        if match := _GIVEN.match(line):
            given = given or match["value"]
        elif match := _LITERAL.match(line):
            choices += _literals(match["choices"])
            given = given or match["value"] or ""
        elif _ABSTRACT.match(line):
            other.append("no class is named: give a registered name, or class_path with init_args")
        elif match := _NO_SPEC.search(line):
            other.append(f"expected the name of a class, or class_path with init_args, got {match['value']}")
        elif _NOISE.fullmatch(line):
            continue
        elif match := _TYPE.match(line):
            wanted.append(_WORDS.get(match["type"] or "", match["type"] or match["other"]))
            given = given or match["value"] or ""
        elif line and (not other or line.startswith("->")):
            other.append(line)
    return Message(_joined(keys), _sentence(_unique(choices), _unique(wanted), other, given))


def constructors_message(error: Exception) -> str:
    """What a constructor raised, without the types that jsonargparse lists where an option takes one of several."""
    text = str(error)
    return str(readable(text)) if text.startswith("Does not validate against any of") else text


def _unwrapped(line: str) -> tuple[str, list[str]]:
    """A line without what only says where it comes from, and the keys named there."""
    keys = []
    line = line.strip().removeprefix("- ").strip()
    if match := _CALLABLE.match(line):
        line = _GOT.sub("", line[match.end() :])
    while match := _KEY.match(line) or _CLASS.match(line):
        keys += [match["key"]] if "key" in match.groupdict() else []
        line = line[match.end() :].strip()
    return _SPEC.sub("", line), keys


def nearest(key: str, known: Iterable[str]) -> str:
    """What to say of an unknown option: the known ones nearest to it, or what else its section has.

    Args:
        key: With dots.
        known: All options there are.
    """
    names = sorted(_options(known))
    section, _, leaf = key.rpartition(".")
    siblings = [name for name in names if name.rpartition(".")[0] == section]
    same_leaf = [name for name in names if name.rpartition(".")[2] == leaf]
    in_section = [f"{section}.{n}" if section else n for n in get_close_matches(leaf, map(_leaf, siblings), 3, 0.6)]
    near = _unique([*in_section, *same_leaf[:3]]) or get_close_matches(key, names, n=3, cutoff=0.7)
    if near:
        return f"did you mean {' or '.join(near[:3])}?"
    if section and 0 < len(siblings) <= 40:
        return f"known: {', '.join(siblings)}"
    if not names:
        return "there are none here"
    return f"options begin with {', '.join(sorted({name.split('.')[0] for name in names}))}"


def _options(known: Iterable[str]) -> set[str]:
    """The names without those that only hold others."""
    names = set(known)
    return names - {name for name in names if any(other.startswith(f"{name}.") for other in names)}


def _leaf(key: str) -> str:
    return key.rpartition(".")[2]


def _joined(keys: list[str]) -> str:
    """Nested keys as one path; a parser within a parser repeats the beginning of its own."""
    path = ""
    for key in keys:
        path = key if not path or key.startswith(path) else f"{path}.{key}"
    return path


def _literals(choices: str) -> list[str]:
    try:
        return [str(choice) for choice in ast.literal_eval(f"[{choices}]")]
    except (ValueError, SyntaxError):
        return [choices]


def _unique(items: list[str]) -> list[str]:
    return list(dict.fromkeys(items))


def _sentence(choices: list[str], wanted: list[str], other: list[str], given: str) -> str:
    if other:
        return "\n  ".join(other)
    expected = ([f"one of {', '.join(choices)}"] if choices else []) + wanted
    if not expected:
        return f"{given!r} does not fit" if given else "does not fit"
    near = get_close_matches(given, choices, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"expected {' or '.join(expected)}, got {given!r}{hint}"
