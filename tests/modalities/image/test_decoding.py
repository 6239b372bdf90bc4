"""Every kind of image file becomes the picture that a viewer shows, or is refused with the file's name."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture
from PIL import ImageCms, ImageFile

from modalign.core.errors import RowError
from modalign.core.media import Media
from modalign.modalities.image.decoding import FORMATS, decode_image, picture_key

SIDE = 12


def encoded(picture: Picture.Image, format: str = "PNG", **options: Any) -> Media:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return Media("folder/name", file.getvalue())


def pixels(response: Any) -> np.ndarray:
    picture = decode_image(response)
    assert picture.mode == "RGB"
    return np.asarray(picture).astype(int)


def colours() -> Picture.Image:
    values = np.zeros((SIDE, SIDE + 2, 3), dtype=np.uint8)
    values[: SIDE // 2, :, 0] = 250
    values[:, : SIDE // 2, 2] = 130
    return Picture.fromarray(values)


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "GIF", "PPM"])
def test_formats_without_loss_keep_every_pixel(format: str) -> None:
    picture = colours()
    assert (pixels(encoded(picture, format)) == np.asarray(picture)).all()


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_formats_with_loss_stay_near(format: str) -> None:
    picture = Picture.new("RGB", (16, 16), (200, 100, 50))
    assert np.abs(pixels(encoded(picture, format)) - np.asarray(picture)).max() <= 4


def test_a_picture_from_sampling_is_taken_as_it_is() -> None:
    assert (pixels(colours()) == np.asarray(colours())).all()


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda a: np.rot90(a)),
    ],
)
def test_exif_turns_the_picture(orientation: int, turned: Any) -> None:
    exif = Picture.Exif()
    exif[0x0112] = orientation
    assert (pixels(encoded(colours(), exif=exif)) == turned(np.asarray(colours()))).all()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_says_nothing() -> None:
    media = encoded(colours(), exif=b"Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\xff\xff\x01")
    assert (pixels(media) == np.asarray(colours())).all()


def test_transparency_lies_on_white() -> None:
    values = np.zeros((SIDE, SIDE, 4), dtype=np.uint8)
    values[..., 0], values[:4, :, 3], values[4:8, :, 3] = 200, 255, 51
    got = pixels(encoded(Picture.fromarray(values)))
    assert got[0, 0].tolist() == [200, 0, 0]
    assert got[5, 0].tolist() == [round(0.2 * 200 + 0.8 * 255), 204, 204]
    assert got[11, 0].tolist() == [255, 255, 255]


def test_a_transparent_palette_entry_is_white() -> None:
    picture = Picture.new("P", (SIDE, SIDE), 1)
    picture.putpalette([9, 9, 9, 0, 0, 255])
    picture.paste(0, (0, 0, 6, SIDE))
    got = pixels(encoded(picture, transparency=0))
    assert got[0, 0].tolist() == [255, 255, 255]
    assert got[0, 11].tolist() == [0, 0, 255]


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_becomes_equal_channels(mode: str) -> None:
    grey = Picture.fromarray(np.tile(np.array([0, 255], dtype=np.uint8), (SIDE, SIDE // 2)))
    assert (pixels(encoded(grey.convert(mode))) == np.asarray(grey)[..., None]).all()


def test_cmyk_is_converted_and_not_inverted() -> None:
    picture = Picture.new("RGB", (16, 16), (250, 10, 10)).convert("CMYK")
    got = pixels(encoded(picture, "JPEG", quality=95))
    assert got[..., 0].min() > 230
    assert got[..., 1:].max() < 30


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_and_not_clipped(format: str) -> None:
    values = np.linspace(0, 65535, SIDE * SIDE).round().astype(np.uint16).reshape(SIDE, SIDE)
    got = pixels(encoded(Picture.fromarray(values), format))
    assert (got == np.rint(values / 257)[..., None]).all()


def test_wide_integers_and_fractions_are_scaled() -> None:
    ramp = np.linspace(0, 1, SIDE * SIDE).reshape(SIDE, SIDE)
    expected = np.rint(ramp * 255)[..., None]
    assert np.abs(pixels(encoded(Picture.fromarray(ramp.astype(np.float32)), "TIFF")) - expected).max() <= 1
    whole = (ramp * (2**31 - 1)).astype(np.int32)
    assert np.abs(pixels(encoded(Picture.fromarray(whole), "TIFF")) - expected).max() <= 1
    sixteen_in_thirty_two = (ramp * 65535).astype(np.int32)
    assert np.abs(pixels(encoded(Picture.fromarray(sixteen_in_thirty_two), "TIFF")) - expected).max() <= 1


@pytest.mark.parametrize("bad", [-0.1, 1.5, float("nan"), float("inf")])
def test_fractions_without_a_known_white_are_refused(bad: float) -> None:
    values = np.full((SIDE, SIDE), 0.5, dtype=np.float32)
    values[3, 3] = bad
    with pytest.raises(RowError, match=r"no known white.*'folder/name'.*\n  -> Scale"):
        decode_image(encoded(Picture.fromarray(values), "TIFF"))


def test_an_icc_profile_is_followed() -> None:
    lab = ImageCms.createProfile("LAB")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    picture = Picture.new("RGB", (SIDE, SIDE), (200, 60, 60))
    plain = pixels(encoded(picture))
    assert (pixels(encoded(picture, icc_profile=srgb.tobytes())) == plain).all()
    wrong_space = ImageCms.ImageCmsProfile(lab).tobytes()
    assert (pixels(encoded(picture, icc_profile=wrong_space)) == plain).all()
    assert (pixels(encoded(picture, icc_profile=b"damaged")) == plain).all()
    linear = srgb.tobytes().replace(_gamma(srgb.tobytes()), _linear(len(_gamma(srgb.tobytes()))))
    linear = linear.replace("sRGB".encode("utf-16-be"), "line".encode("utf-16-be"))
    brighter = pixels(encoded(picture, icc_profile=linear))
    # The light of 60 / 255 on a linear scale, in sRGB's curve.
    assert abs(brighter[0, 0, 1] - 255 * (1.055 * (60 / 255) ** (1 / 2.4) - 0.055)) <= 2


def _gamma(profile: bytes) -> bytes:
    """The tone curve of a profile that Little CMS made: a `para` element."""
    start = profile.index(b"para", 128 + 4 + 12 * 12)
    return profile[start : start + 32]


def _linear(length: int) -> bytes:
    """A parametric curve y = x^1, padded."""
    return (b"para" + bytes(4) + struct.pack(">HHi", 0, 0, 65536)).ljust(length, b"\0")


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises more than there is."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def animation(format: str) -> bytes:
    file = io.BytesIO()
    frames = [Picture.new("RGB", (SIDE, SIDE), colour) for colour in ("red", "blue", "green")]
    frames[0].save(file, format, save_all=True, append_images=frames[1:])
    return file.getvalue()


NOISE = Picture.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<html>404</html>", "not an image that can be read: 'folder/name'"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n", "not an image that can be read"),
        (encoded(NOISE, "JPEG").data[:900], "cannot be decoded: 'folder/name'"),
        (encoded(NOISE).data[:3000], "cannot be decoded: 'folder/name'"),
        (encoded(NOISE).data[:20], "be (read|decoded): 'folder/name'"),
        (encoded(NOISE, "WEBP").data[:200], "be (read|decoded): 'folder/name'"),
        (encoded(NOISE, "BMP").data[:500], "cannot be decoded: 'folder/name'"),
        (encoded(NOISE, "TIFF").data[:500], "be (read|decoded): 'folder/name'"),
        (animation("GIF"), "animated: 'folder/name'"),
        (animation("PNG"), "animated: 'folder/name'"),
        (animation("WEBP"), "animated: 'folder/name'"),
        (animation("TIFF"), "animated: 'folder/name'"),
        (bomb(30_000, 30_000), "too large: 'folder/name'"),
        (bomb(9000, 8000), "too large: 'folder/name' has 9000 x 8000 pixels"),
        (encoded(Picture.new("RGB", (7, 40))).data, "too small: 'folder/name' has 7 x 40 pixels"),
        (encoded(Picture.new("RGB", (8, 81))).data, "too long: 'folder/name' has 8 x 81 pixels"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name_and_cure(content: bytes, message: str) -> None:
    with pytest.raises(RowError, match=rf"{message}[\s\S]*\n  -> \w"):
        decode_image(Media("folder/name", content))


def test_any_shape_is_decoded_where_nothing_is_cropped() -> None:
    assert decode_image(encoded(Picture.new("RGB", (7, 300))), any_shape=True).size == (7, 300)
    with pytest.raises(RowError, match="too large"):
        decode_image(Media("folder/name", bomb(9000, 8000)), any_shape=True)


def test_a_damaged_part_in_the_middle_is_refused() -> None:
    content = bytearray(encoded(NOISE).data)
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(RowError, match="cannot be decoded"):
        decode_image(Media("x.png", bytes(content)))


def _written(format: str, **options: Any) -> bytes:
    picture = Picture.fromarray(np.asarray(NOISE)[:24, :32])
    content = encoded(picture, format, **options).data
    assert content is not None
    return content


WHOLE = {
    **{format: _written(format) for format in (*FORMATS, "MPO")},
    "TIFF compressed": _written("TIFF", compression="tiff_deflate"),
    **{f"{format} animation": animation(format) for format in ("GIF", "PNG", "WEBP", "AVIF", "TIFF")},
}


def picture_or_refusal(content: bytes) -> bool:
    """Whether it is a picture; nothing else than a picture or a `RowError` comes of it."""
    refusal = None
    try:
        picture = decode_image(Media("folder/name", content))
    except RowError as error:
        refusal = error
    if refusal is None:
        assert picture.mode == "RGB"
        return True
    assert "'folder/name'" in refusal.message
    assert refusal.cure
    return False


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", WHOLE)
def test_a_file_cut_anywhere_is_a_picture_or_a_refusal(name: str) -> None:
    content = WHOLE[name]
    cuts = {*range(1, min(len(content), 64)), *np.linspace(1, len(content) - 1, 80).astype(int).tolist()}
    kept = [picture_or_refusal(content[:cut]) for cut in sorted(cuts)]
    assert not all(kept)
    assert picture_or_refusal(content) == ("animation" not in name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", WHOLE)
def test_a_damaged_file_is_a_picture_or_a_refusal(name: str) -> None:
    draw = np.random.default_rng(len(name))
    for _ in range(150):
        damaged = bytearray(WHOLE[name])
        # Half of the damage is among the first bytes, where headers are.
        reach = 200 if draw.random() < 0.5 else len(damaged)
        for place in draw.integers(0, min(reach, len(damaged)), draw.integers(1, 9)):
            damaged[place] = draw.integers(256)
        picture_or_refusal(bytes(damaged))


def test_a_photograph_with_extra_views_is_no_animation() -> None:
    first, second = Picture.new("RGB", (SIDE, SIDE), "red"), Picture.new("RGB", (SIDE, SIDE), "blue")
    got = pixels(encoded(first, "MPO", save_all=True, append_images=[second]))
    assert got[0, 0, 0] > 240


def test_other_types_are_refused() -> None:
    for response in ("a string", None, 3):
        with pytest.raises(RowError, match="this is not an image: it is of the type"):
            decode_image(response)
        with pytest.raises(RowError, match="this is not an image"):
            picture_key(response)


def test_refusals_are_counted_under_one_reason() -> None:
    reasons = set()
    for name in ("a1.png", "b2.png"):
        with pytest.raises(RowError) as caught:
            decode_image(Media(name, b"no"))
        reasons.add(caught.value.reason)
    assert len(reasons) == 1


def test_pillow_stays_as_it_was(recwarn: pytest.WarningsRecorder) -> None:
    before = (Picture.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    with pytest.raises(RowError):
        decode_image(Media("x", bomb(30_000, 30_000)))
    assert before == (Picture.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


def test_the_key_is_of_the_content(tmp_path: Path) -> None:
    media = encoded(colours())
    (tmp_path / "a.png").write_bytes(media.data)
    assert picture_key(media) == picture_key(Media(str(tmp_path / "a.png")))
    assert picture_key(media) != picture_key(encoded(colours(), "BMP"))
    assert picture_key(colours()) == picture_key(colours().copy())
    assert picture_key(colours()) != picture_key(colours().rotate(90))


def test_the_key_of_an_open_picture_is_of_what_is_seen() -> None:
    def painted(colour: list[int]) -> Picture.Image:
        picture = Picture.new("P", (SIDE, SIDE), 0)
        picture.putpalette(colour)
        return picture

    def reopened(**options: Any) -> Picture.Image:
        return Picture.open(io.BytesIO(encoded(colours(), **options).data or b""))

    turned = Picture.Exif()
    turned[0x0112] = 3
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    curve = _gamma(srgb)
    linear = srgb.replace(curve, _linear(len(curve))).replace("sRGB".encode("utf-16-be"), "line".encode("utf-16-be"))
    assert picture_key(painted([255, 0, 0])) != picture_key(painted([0, 255, 0]))
    assert picture_key(painted([255, 0, 0])) == picture_key(Picture.new("RGB", (SIDE, SIDE), "red"))
    assert picture_key(reopened()) == picture_key(colours())
    assert picture_key(reopened(exif=turned)) == picture_key(colours().rotate(180))
    assert picture_key(reopened(icc_profile=linear)) != picture_key(colours())
    assert picture_key(Picture.new("RGB", (8, 16))) != picture_key(Picture.new("RGB", (16, 8)))
