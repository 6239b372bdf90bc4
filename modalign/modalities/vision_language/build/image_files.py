"""Every image as a file that a row can name: its own, or one that is saved beside the rows."""

import os
from io import BytesIO
from pathlib import Path
from typing import Any

from modalign.core.media import Media
from modalign.modalities.vision_language.build.demonstrations import Demonstrations, Survey

IMAGES = "images"


def image_files(folder: Path, demonstrations: Demonstrations, survey: Survey) -> list[Media]:
    """The different images in their order, saving those that rows held as bytes, decoded, or by an address.

    Args:
        folder: Of the rows that will name them; saved ones go to `images` in it.
        demonstrations: Hold the images.
        survey: Of them.
    """
    files = []
    for key, first in zip(survey.keys, survey.first, strict=True):
        image = demonstrations.at(survey.places[first]).image
        files.append(Media(str(_own_file(image) or _saved(folder / IMAGES / key, image))))
    return files


def written_path(image: Media, folder: Path) -> str:
    """How a row in `folder` names an image: relative where it was saved there, absolute elsewhere."""
    path = Path(image.path)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _own_file(image: Any) -> Path | None:
    if isinstance(image, Media) and image.data is None and Path(image.path).is_file():
        return Path(image.path).absolute()
    return None


def _saved(stem: Path, image: Any) -> Path:
    """Save an image as it is, a decoded one as PNG, which loses nothing of it."""
    content = image.read() if isinstance(image, Media) else _encoded(image)
    path = stem.with_suffix(_suffix(content))
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".tmp")
        beside.write_bytes(content)
        os.replace(beside, path)
    return path


def _encoded(picture: Any) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _suffix(content: bytes) -> str:
    """By what the content begins with; what is no image is refused when it is decoded, whatever it is called."""
    from PIL import Image

    try:
        with Image.open(BytesIO(content)) as opened:
            return f".{(opened.format or 'image').lower()}"
    except Exception:  # Pillow's decoders raise anything
        return ".image"
