"""Writing a folder whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modalign.core.errors import UserError


@contextmanager
def new_folder(folder: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary folder that takes the name of `folder` once everything in it is written.

    Raises:
        UserError: `folder` exists and may not be replaced, or cannot be written.
    """
    folder = Path(folder).absolute()
    if folder.exists() and not overwrite and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{str(folder)!r} exists already.", "Choose another folder, or set `overwrite: true`.")
    temporary = folder.with_name(f".{folder.name}.writing-{os.getpid()}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        _take_place(temporary, folder)
    except OSError as error:
        raise UserError(f"{str(folder)!r} cannot be written: {error}.", "Check its path, rights and space.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _take_place(new: Path, folder: Path) -> None:
    """Rename `new` to `folder`; what was there is moved aside first, since a folder cannot be renamed over another."""
    if not folder.exists():
        new.rename(folder)
        return
    old = folder.with_name(f".{folder.name}.replaced-{os.getpid()}")
    folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old) if old.is_dir() else old.unlink()
