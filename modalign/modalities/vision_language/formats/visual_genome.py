"""Where Visual Genome keeps its images."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from modalign.core.errors import UserError

_CURE = 'Give Visual Genome\'s image_data.json: a list of {"image_id": ..., "url": ...}.'


@cache
def image_paths(image_data: str) -> Mapping[str, str]:
    """By an image's id, its folder and name (VG_100K/2.jpg), which are the end of its address.

    Args:
        image_data: The path of image_data.json.

    Raises:
        UserError: The file cannot be read, or is another one.
    """
    try:
        images = json.loads(Path(image_data).expanduser().read_text(encoding="utf-8"))
        return {str(image["image_id"]): "/".join(image["url"].split("/")[-2:]) for image in images}
    except OSError as error:
        raise UserError(f"{image_data} cannot be read: {error.strerror or error}", _CURE) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{image_data} is no list of Visual Genome's images: {error!r}", _CURE) from None
