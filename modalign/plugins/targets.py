"""Importing what an entry points to, with a message that names the plugin when it cannot be used."""

import inspect
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from modalign.core.errors import UserError

if TYPE_CHECKING:
    from modalign.plugins.registry import Entry


def strict_plugins() -> bool:
    """Whether `MODALIGN_STRICT_PLUGINS` asks for a plugin's own exception in place of a line about it."""
    return os.environ.get("MODALIGN_STRICT_PLUGINS", "") not in ("", "0")


def import_target(entry: "Entry", base: str) -> Any:
    """Import an entry's target and check that it is what its kind asks for.

    Args:
        entry: Whose target.
        base: `package.module:Class` that the target must extend; empty where a function is wanted.

    Raises:
        UserError: It cannot be imported, or is something else.
    """
    found = _import(entry)
    if not base:
        if not callable(found):
            raise UserError(f"{_subject(entry)} is not a function: {entry.target}")
        return found
    base_module, base_name = base.split(":")
    _check_class(entry, found, getattr(import_module(base_module), base_name))
    return found


def _import(entry: "Entry") -> Any:
    module_name, attribute = entry.target.split(":")
    try:
        return getattr(import_module(module_name), attribute)
    except AttributeError as error:
        if strict_plugins() or f"no attribute {attribute!r}" not in str(error):
            raise UserError(f"{_subject(entry)} fails to import: AttributeError: {error}") from error
        raise UserError(f"{_subject(entry)} points to {entry.target}, which does not exist") from error
    except ImportError as error:
        raise UserError(f"{_subject(entry)} cannot be imported: {error}", _cure(entry, error)) from error
    except Exception as error:  # a plugin's module may raise anything; it is reported under the plugin's name
        if strict_plugins():
            raise
        raise UserError(
            f"{_subject(entry)} fails to import: {type(error).__name__}: {error}",
            "MODALIGN_STRICT_PLUGINS=1 shows the traceback.",
        ) from error


def _check_class(entry: "Entry", found: Any, base: type) -> None:
    if not (isinstance(found, type) and issubclass(found, base)):
        raise UserError(f"{_subject(entry)} must be a subclass of {base.__module__}.{base.__name__}, not {found!r}")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(name for name in dir(found) if _is_abstract(found, name)))
        raise UserError(f"{_subject(entry)} is unfinished: {entry.target} does not implement {missing}")
    if "name" in inspect.get_annotations(base) and getattr(found, "name", None) != entry.name:
        raise UserError(
            f"{_subject(entry)} calls itself {getattr(found, 'name', None)!r}",
            f"{entry.target} needs the class attribute name = {entry.name!r}.",
        )


def _is_abstract(found: type, name: str) -> bool:
    return bool(getattr(getattr(found, name, None), "__isabstractmethod__", False))


def _subject(entry: "Entry") -> str:
    return f"the {entry.kind} {entry.name!r} of {entry.plugin}"


def _cure(entry: "Entry", error: ImportError) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name and entry.target.startswith(error.name):
        return f"The plugin announces {entry.target}, but there is no such module."
    distribution = entry.plugin.distribution
    if entry.extra and distribution:
        return f"pip install '{distribution}[{entry.extra}]'"
    return "Install what is missing, or run `modalign doctor`."
