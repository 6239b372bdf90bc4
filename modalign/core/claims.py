"""A folder of results belongs to one request: it is completed by the same, and closed to others."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modalign.core.errors import UserError

SETTINGS = "settings.json"


def claim(folder: Path, settings: Mapping[str, Any], what: str) -> None:
    """Make the folder, or make sure that it holds the beginning of this very request.

    Args:
        folder: New, empty, or claimed before.
        settings: All that decides what goes in; written to `settings.json`.
        what: What goes in, for messages.

    Raises:
        UserError: Something else is in the folder.
    """
    path, plain = folder / SETTINGS, json.loads(json.dumps(settings, default=str))
    if not path.is_file():
        if folder.exists() and (not folder.is_dir() or any(each.name != f".{SETTINGS}" for each in folder.iterdir())):
            raise UserError(f"{folder} exists, and holds no {what}.", "Choose another folder.")
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder / f".{SETTINGS}"
        beside.write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(beside, path)  # whole, or not there
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    changed = [name for name in {**before, **plain} if before.get(name) != plain.get(name)]
    if changed:
        told = "\n  ".join(f"{name}: {before.get(name)!r} there, {plain.get(name)!r} now" for name in changed)
        raise UserError(f"{folder} holds other {what}:\n  {told}", "Choose another folder for these.")
