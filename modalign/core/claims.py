"""A folder of results belongs to one request: it is completed by the same, and closed to others."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modalign.core.errors import UserError

SETTINGS = "settings.json"


def check_claim(folder: Path, settings: Mapping[str, Any], what: str) -> None:
    """Make sure that a folder is free, or holds the beginning of this very request; nothing is written.

    Args:
        folder: New, empty, or claimed before.
        settings: All that decides what goes in.
        what: What goes in, for messages.

    Raises:
        UserError: Something else is in the folder.
    """
    before, now = _read(folder), json.loads(_text(settings))
    if before is None:
        _check_free(folder, what)
        return
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if changed:
        told = "\n  ".join(f"{name}: {before.get(name)!r} there, {now.get(name)!r} now" for name in changed)
        raise UserError(f"{folder} holds other {what}:\n  {told}", "Choose another folder for these.")


def claim(folder: Path, settings: Mapping[str, Any], what: str) -> None:
    """Make a folder this request's, by its settings in `settings.json`; see `check_claim`.

    To be called when there is something to put in, so that a request that fails before leaves nothing.
    """
    check_claim(folder, settings, what)
    if _read(folder) is None:
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder / f".{SETTINGS}"
        beside.write_text(_text(settings), encoding="utf-8")
        os.replace(beside, folder / SETTINGS)  # whole, or not there


def _check_free(folder: Path, what: str) -> None:
    if folder.exists() and (not folder.is_dir() or any(each.name != f".{SETTINGS}" for each in folder.iterdir())):
        raise UserError(f"{folder} exists, and holds no {what}.", "Choose another folder.")
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        problem = "cannot be written" if there.is_dir() else "is a file"
        raise UserError(f"{folder} cannot be made: {there} {problem}.", "Choose another folder.")


def _read(folder: Path) -> dict[str, Any] | None:
    """What a folder's settings are; None where there are none of ours."""
    try:
        found = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _text(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, default=str, indent=2, ensure_ascii=False) + "\n"
