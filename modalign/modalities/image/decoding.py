"""From a file's bytes to an RGB picture, or to a refusal that says what is wrong with the file."""

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from modalign.core.content import content_hash
from modalign.core.errors import RowError
from modalign.core.media import Media

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")
"""What is opened. Pillow knows more formats; some of them run other programs."""

DECODING_VERSION = 1
"""To be raised when the same file gives other pixels, here or in `framing`; part of the key of cached latents."""

MAX_PIXELS = 2**26
"""Larger images (more than 8192 x 8192) are refused before anything but their header is read."""

MIN_SIDE = 8
"""Images with a shorter side are refused: they would not fill one latent of the usual encoders."""

MAX_ASPECT = 10
"""Images whose longer side is more than this many times the shorter are refused: a crop would show little of them."""

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_COLOUR_SPACES = {"RGB": "RGB", "CMYK": "CMYK", "L": "GRAY"}
_REMOVE = "Remove the row, or mend the file."


def decode_image(response: Any, any_shape: bool = False) -> Image.Image:
    """An RGB picture as a viewer shows it: turned as EXIF says, colours taken to sRGB, transparency on white.

    Sixteen-bit and 32-bit values are scaled to eight bits by their range, never clipped: 65,535 is white in 16 bits,
    2^31 - 1 in 32 (65,535 where no value is larger: 16-bit data kept in 32), and 1.0 in floating point. An ICC profile
    is followed where it fits the pixels, and ignored where it is damaged, as viewers do.

    Args:
        response: A `Media` or a PIL image.
        any_shape: Whether pictures are taken that are too small or too long to be generated: for a model that is shown
            them, an icon or a banner is as good as any.

    Raises:
        RowError: It is none, or is damaged, animated, too large or too small; the message names the file.
    """
    name, opened = _opened(response)
    check_size(*opened.size, name)
    if not any_shape:
        check_shape(*opened.size, name)
    try:
        if opened.format != "MPO" and getattr(opened, "n_frames", 1) > 1:  # an MPO is a photograph with extra views
            raise RowError(f"the image is animated: {name} has several frames", "Give one frame as a still image.")
        opened.load()
        return _as_shown(opened, name)
    except RowError:
        raise
    except Exception as error:  # Pillow's decoders raise anything
        raise RowError(f"the image cannot be decoded: {name}: {error or type(error).__name__}", _REMOVE) from None


def picture_key(response: Any) -> str:
    """A hash of what decides the decoded picture.

    Of a file, that is its content, and nothing is decoded. A PIL image is hashed as `decode_image` shows it: its pixels
    alone say nothing of its palette, its EXIF or its colour profile.

    Raises:
        RowError: It is none, or cannot be read; a PIL image is refused as `decode_image` refuses it.
    """
    if isinstance(response, Media):
        return content_hash(response.read())
    if isinstance(response, Image.Image):
        picture = decode_image(response, any_shape=True)
        return content_hash([list(picture.size), picture.tobytes()])
    raise _no_image(response)


def check_size(width: int, height: int, name: str) -> None:
    """Refuse what would fill the memory.

    Raises:
        RowError: The image is too large.
    """
    if width * height > MAX_PIXELS:
        size = f"{name} has {width} x {height} pixels"
        raise RowError(f"the image is too large: {size}, more than {MAX_PIXELS} in all", "Scale it down.")


def check_shape(width: int, height: int, name: str) -> None:
    """Refuse what cannot be cropped to a useful picture.

    Raises:
        RowError: The image is too small or too long.
    """
    size = f"{name} has {width} x {height} pixels"
    if min(width, height) < MIN_SIDE:
        raise RowError(f"the image is too small: {size}, and each side needs {MIN_SIDE}", "Remove the row.")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise RowError(f"the image is too long: {size}, over {MAX_ASPECT} to 1", "Crop it, or remove the row.")


def _opened(response: Any) -> tuple[str, Image.Image]:
    """What messages call it, and the picture with nothing but its header read."""
    if isinstance(response, Image.Image):
        return repr(getattr(response, "filename", "") or "the image in the row"), response
    if not isinstance(response, Media):
        raise _no_image(response)
    name, content = repr(response.path or "the image in the row"), response.read()
    Image.init()
    try:
        return name, Image.open(BytesIO(content), formats=[known for known in FORMATS if known in Image.OPEN])
    except Image.DecompressionBombError as error:
        raise RowError(f"the image is too large: {name}: {error}", "Scale it down.") from None
    except UnidentifiedImageError:
        raise RowError(
            f"the file is not an image that can be read: {name}", f"Give one of {', '.join(FORMATS)}."
        ) from None
    except Exception as error:  # Pillow's decoders raise anything
        raise RowError(f"the image cannot be decoded: {name}: {error or type(error).__name__}", _REMOVE) from None


def _no_image(response: Any) -> RowError:
    return RowError(
        f"this is not an image: it is of the type {type(response).__name__}",
        "Name the column of the images in data.format.",
    )


def _as_shown(image: Image.Image, name: str) -> Image.Image:
    profile = image.info.get("icc_profile")
    turn = _TURNS.get(_orientation(image))
    if turn is not None:
        info = image.info
        image = image.transpose(turn)
        image.info = info
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        image = _eight_bits(image, name)
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    picture = _to_srgb(image if image.mode in _COLOUR_SPACES else image.convert("RGB"), profile)
    if alpha is None:
        return picture
    page = Image.new("RGB", picture.size, "white")
    page.paste(picture, mask=alpha)
    return page


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF, on which decoders raise anything, says nothing
        return 1


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """Grey levels of 16 or 32 bits, scaled to 8."""
    values = np.asarray(image)
    low, high = values.min(), values.max()
    white = 65535.0 if high <= 65535 else 2.0**31 - 1
    if image.mode == "F":
        white = 1.0
    if not (low >= 0 and high <= white):  # so written that NaN is refused
        raise RowError(
            f"the image's values have no known white: {name} has {image.mode} pixels from {low} to {high}",
            "Scale floating point to [0, 1] and integers to 16 bits.",
        )
    return Image.fromarray((values.astype(np.float32) * np.float32(255 / white)).round().astype(np.uint8))


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Take colours to sRGB where a profile says what they are; else they are taken as they are."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            fits = source.profile.xcolor_space.strip() == _COLOUR_SPACES[image.mode]
            if fits and "sRGB" not in (source.profile.profile_description or ""):
                taken = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
                return taken or image.convert("RGB")
        except (ImageCms.PyCMSError, OSError):  # a damaged profile
            pass
    return image.convert("RGB")
