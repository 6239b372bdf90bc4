"""Models in the layout that their authors publish them in: converted once, then used as diffusers pipelines."""

import os
import shutil
from abc import ABC, abstractmethod
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from filelock import FileLock

from modalign.core.content import content_hash
from modalign.core.errors import UserError
from modalign.modalities.diffusion.encoder_identity import file_stamps
from modalign.modalities.explained import explained


class PublishedLayout(ABC):
    """A layout of files that is no diffusers pipeline, and how it becomes one.

    Attributes:
        name: For people, and for the folder's name in the cache.
        version: To be raised when the same files are converted into something else.
        marker: The file that tells a folder or hub repository of this layout from others.
        files: What is read of it; all of them have to be there.
        optional_files: What is read too, where it is there.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    marker: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    optional_files: ClassVar[tuple[str, ...]] = ()

    @classmethod
    @abstractmethod
    def convert(cls, folder: Path, target: Path) -> None:
        """Write a folder in this layout as a diffusers pipeline.

        Args:
            folder: Holds `files`.
            target: Exists and is empty.

        Raises:
            UserError: It is a model of this layout that cannot be converted.
        """


def layouts() -> list[type[PublishedLayout]]:
    """Those of all registered families; families that cannot be imported have none."""
    from modalign.plugins.manager import registry

    found, known = registry(), []
    for name in found.names("family"):
        try:
            layout = found.load("family", name).published
        except UserError:
            continue
        if layout is not None:
            known.append(layout)
    return known


def published(model: str, revision: str | None, index: str) -> tuple[type[PublishedLayout], Path] | None:
    """The layout that a model is published in, and a folder of its files; None where it is in none that is known.

    Args:
        model: Hub id or local folder.
        revision: Of a hub id.
        index: The file that every diffusers pipeline has.

    Raises:
        UserError: Some of its files are missing, or cannot be downloaded.
    """
    folder = Path(model).expanduser()
    local = folder.is_dir()
    there = {path.name for path in folder.iterdir()} if local else _files_on_hub(model, revision, index)
    layout = None if index in there else next((each for each in layouts() if each.marker in there), None)
    if layout is None:
        return None
    if lacking := [name for name in layout.files if name not in there]:
        raise UserError(
            f"{model!r} is in {layout.name}'s own layout, and lacks {', '.join(lacking)}.", "Name a complete model."
        )
    if local:
        return layout, folder.resolve()
    from huggingface_hub import snapshot_download

    with explained(f"the files of {model!r}"):
        files = [*layout.files, *layout.optional_files]
        return layout, Path(snapshot_download(model, revision=revision, allow_patterns=files))


def converted(layout: type[PublishedLayout], folder: Path) -> Path:
    """The diffusers pipeline that a folder in a published layout was converted to, now or by an earlier run.

    It is kept in `pipelines` of the folder `MODALIGN_CACHE`, or of `~/.cache/modalign`, whole or not at all; processes
    that want the same one wait for the first.

    Args:
        layout: Of the folder.
        folder: Holds its files.

    Raises:
        UserError: It cannot be converted, or the cache cannot be written.
    """
    root = Path(os.environ.get("MODALIGN_CACHE") or Path.home() / ".cache" / "modalign") / "pipelines"
    files = [path for name in (*layout.files, *layout.optional_files) if (path := folder / name).is_file()]
    target = root / f"{layout.name}-{content_hash([layout.version, file_stamps(files)])}"
    if target.is_dir():
        return target
    partial = target.with_name(f"{target.name}.partial")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f"{target.name}.lock")):
            if not target.is_dir():
                shutil.rmtree(partial, ignore_errors=True)  # a killed process left it
                partial.mkdir()
                layout.convert(folder, partial)
                partial.rename(target)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be converted into {target}: {error}.", "Check the rights and room of MODALIGN_CACHE."
        ) from error
    return target


@lru_cache(maxsize=32)
def _files_on_hub(model: str, revision: str | None, index: str) -> set[str]:
    """The names of a hub repository's files, or of those in the cache; none where it cannot be asked."""
    from huggingface_hub import HfApi, constants, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        names = {index, *(name for layout in layouts() for name in layout.files)}
        kept = {name for name in names if isinstance(try_to_load_from_cache(model, name, revision=revision), str)}
        if index in kept or constants.HF_HUB_OFFLINE:
            return kept
        return set(HfApi().list_repo_files(model, revision=revision))
    except (HfHubHTTPError, HFValidationError, OSError):
        return set()
