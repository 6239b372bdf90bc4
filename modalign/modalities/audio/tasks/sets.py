"""Folders of sounds to be compared."""

from collections.abc import Sequence
from pathlib import Path

from modalign.core.errors import UserError

SUFFIXES = frozenset((".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".m4a", ".aac"))


def sounds_of(folder: Path) -> list[Path]:
    """The sound files of a folder, without those of folders in it, by name.

    Raises:
        UserError: There is no such folder, or no sound in it, or two of one name.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {str(folder)!r}", "Name a folder of sound files.")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        inner = sorted(path.name for path in folder.iterdir() if path.is_dir())
        raise UserError(
            f"{str(folder)!r} holds no sound files ({', '.join(sorted(SUFFIXES))})",
            f"Name a folder in it: {', '.join(inner)}." if inner else "Name a folder of sound files.",
        )
    names = [path.stem for path in files]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise UserError(f"{str(folder)!r} holds several sounds called {twice[0]!r}", "Leave one of each name.")
    return files


def titles(folders: Sequence[Path]) -> list[str]:
    """What folders are called in results: their names, or their paths where names are alike.

    Raises:
        UserError: A folder is named twice.
    """
    paths = [folder.resolve() for folder in folders]
    if len(set(paths)) < len(paths):
        raise UserError(f"a folder is given twice: {', '.join(map(str, folders))}", "Name each folder once.")
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def check_pairs(reference: Sequence[Path], generated: Sequence[Path]) -> None:
    """Refuse generated sounds without a reference of the same name.

    Raises:
        UserError: Naming some.
    """
    known = {path.stem for path in reference}
    if alone := [path.name for path in generated if path.stem not in known]:
        shown = ", ".join(alone[:5]) + (", ..." if len(alone) > 5 else "")
        raise UserError(
            f"{len(alone)} of {len(generated)} sounds of {str(generated[0].parent)!r} have no reference of the same "
            f"name in {str(reference[0].parent)!r}: {shown}",
            "KL compares sounds in pairs: name both alike (suffixes may differ), or leave --classifier out.",
        )
