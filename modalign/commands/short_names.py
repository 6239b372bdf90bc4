"""Registered short names wherever a config names a class.

jsonargparse resolves every class name through one private function. `install` puts one in its place that asks the
registry first, and answers a misspelt name with the nearest. A test fails when the function moves.
"""

import re
from collections.abc import Callable
from typing import Any

from jsonargparse import _typehints

from modalign.core.errors import UserError, did_you_mean
from modalign.plugins.manager import registry
from modalign.plugins.registry import KINDS

_resolve: Callable[[Any, str], str] = _typehints.resolve_class_path_by_name
_BASES = {kind.base: kind.name for kind in KINDS.values() if kind.base}


def install() -> None:
    """Make every parser of this process know the registered names."""
    setattr(_typehints, "resolve_class_path_by_name", resolve)  # noqa: B010


def resolve(base: Any, name: str) -> str:
    """The import path of a class.

    Args:
        base: What the class must extend, or a tuple of such.
        name: A registered name, the plain name of a class, or an import path, which is returned as it is.

    Raises:
        ImportError: There is no such class (jsonargparse reports this exception with the key at fault).
    """
    if "." in name:
        return name
    if isinstance(base, tuple):
        return _resolve_any(base, name)
    kind = _kind_of(base)
    if kind is not None:
        short = name if name in registry().names(kind) else _short_name(kind, name)
        if short is not None:
            return _import_path(kind, short)
    path = _resolve(base, name)
    if "." not in path:
        raise ImportError(_unknown(base, kind, name))
    return path


def known_names(base: Any) -> tuple[str, ...]:
    """The names a config may use where it must name a subclass of `base`."""
    kind = _kind_of(base)
    if kind is not None:
        return registry().names(kind)
    return tuple(path.rpartition(".")[2] for path in _typehints.get_all_subclass_paths(base))


def _resolve_any(bases: tuple[Any, ...], name: str) -> str:
    for base in bases[:-1]:
        try:
            return resolve(base, name)
        except ImportError:
            continue
    return resolve(bases[-1], name)


def _kind_of(base: Any) -> str | None:
    return _BASES.get(f"{getattr(base, '__module__', '')}:{getattr(base, '__qualname__', '')}")


def _short_name(kind: str, class_name: str) -> str | None:
    """The short name under which a class of this name is registered."""
    found = [entry.name for entry in registry().entries(kind) if entry.target.endswith(f":{class_name}")]
    return found[0] if len(found) == 1 else None


def _import_path(kind: str, name: str) -> str:
    try:
        found = registry().load(kind, name)
    except UserError as error:
        raise ImportError(str(error)) from error
    return f"{found.__module__}.{found.__qualname__}"


def _unknown(base: Any, kind: str | None, name: str) -> str:
    wanted = kind or re.sub(r"(?<!^)(?=[A-Z])", " ", getattr(base, "__name__", "class")).lower()
    return f"no {wanted} is called {name!r}; {did_you_mean(name, known_names(base))}"
