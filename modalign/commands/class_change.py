"""What happens to a class's options when a later source names another class.

`--config run.yaml --model.objective simpo` over a file that says `dpo`: jsonargparse silently keeps whatever simpo also
has, defaults of dpo included, and silently drops the rest. Here a default of the old class never becomes the new one's,
and both what is kept and what is dropped is told. A test fails when the wrapped private function moves.
"""

import inspect
from collections.abc import Callable
from typing import Any

from jsonargparse import _typehints
from jsonargparse._util import import_object

from modalign.commands.console import warn

_discard: Callable[[Any, Any, Any], None] = _typehints.discard_init_args_on_class_path_change
_told: set[str] = set()


def install() -> None:
    """Put this in the place of jsonargparse's own rule, for every parser of this process."""
    _typehints.discard_init_args_on_class_path_change = discard


def discard(parser_or_action: Any, previous: Any, value: Any) -> None:
    """Remove from `previous` what must not reach the new class.

    Args:
        parser_or_action: Of the new class.
        previous: Class path and init_args so far; changed in place.
        value: The new class path, with what is given for it.
    """
    if not (previous and "init_args" in previous and previous["class_path"] != value["class_path"]):
        return
    old = import_object(_typehints.resolve_class_path_by_name(object, previous["class_path"]))
    defaults = {name: parameter.default for name, parameter in inspect.signature(old).parameters.items()}
    arguments = previous["init_args"]
    for name, argument in _items(arguments).items():
        if name in defaults and argument == defaults[name]:
            arguments.pop(name)
    given = _items(arguments)
    _discard(parser_or_action, previous, value)
    kept = _items(arguments)
    _tell(previous["class_path"], value["class_path"], given, kept)


def _tell(old: str, new: str, given: dict[str, Any], kept: dict[str, Any]) -> None:
    dropped = {name: value for name, value in given.items() if name not in kept}
    parts = [f"keeps {_listed(kept)}"] if kept else []
    parts += [f"drops {_listed(dropped)}"] if dropped else []
    message = f"{_leaf(old)} was changed to {_leaf(new)}, which {' and '.join(parts)}"
    if parts and message not in _told:
        _told.add(message)
        warn(message)


def _items(arguments: Any) -> dict[str, Any]:
    return dict(arguments.items(branches=True, nested=False))


def _listed(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def _leaf(path: str) -> str:
    return path.rpartition(".")[2]
