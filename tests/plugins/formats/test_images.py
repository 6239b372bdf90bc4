import base64
import io

import numpy as np
import pytest
from PIL import Image

from modalign.core.errors import RowError
from modalign.core.media import Media
from modalign.plugins.formats.images import IMAGE, as_image, looks_like_image
from modalign.plugins.formats.media.kind import same_media

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)


def encoded(kind, mode="RGB"):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(buffer, kind)
    return buffer.getvalue()


PNG = encoded("PNG")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a.png", Media("a.png")),
        ("folder with blanks/ä.jpeg", Media("folder with blanks/ä.jpeg")),
        ("/9j/a.png", Media("/9j/a.png")),
        (PNG, Media(data=PNG)),
        (bytearray(PNG), Media(data=PNG)),
        (memoryview(PNG), Media(data=PNG)),
        ({"bytes": PNG, "path": None}, Media(data=PNG)),
        ({"bytes": PNG, "path": "a.png"}, Media("a.png", PNG)),
        ({"bytes": None, "path": "a.png"}, Media("a.png")),
        ({"path": "a.png"}, Media("a.png")),
        ("data:image/png;base64," + base64.b64encode(PNG).decode(), Media(data=PNG)),
        (base64.b64encode(PNG).decode(), Media(data=PNG)),
        (base64.encodebytes(encoded("JPEG")).decode(), Media(data=encoded("JPEG"))),
        (base64.b64encode(encoded("WEBP")).decode(), Media(data=encoded("WEBP"))),
    ],
)
def test_every_way_to_write_an_image(value, expected):
    assert looks_like_image(value)
    assert as_image(value, "image") == expected


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1"])
def test_a_decoded_image_keeps_its_pixels(mode):
    given = Image.fromarray(PIXELS).convert(mode)
    media = as_image(given, "image")
    assert looks_like_image(given)
    read = Image.open(io.BytesIO(media.read()))
    assert read.mode == mode
    assert read.tobytes() == given.tobytes()


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "no value"),
        (3, "not an image: int 3"),
        (True, "not an image: bool"),
        (["a.png"], "not an image: list"),
        (b"", "no image: it has no bytes"),
        ({"bytes": b"", "path": "a.png"}, "no image: it has no bytes"),
        ({"bytes": "a.png"}, "not bytes: str"),
        ({"bytes": None, "path": None}, "neither bytes nor a path"),
        ({"path": 3}, "not a path: int 3"),
        ({"url": "x"}, "neither bytes nor a path, but url"),
        ({}, "neither bytes nor a path, but nothing"),
        ("", "no image: str ''"),
        ("  ", "no image"),
        ("a\0.png", "no image"),
        ("\ud800.png", "not valid Unicode"),
        ("https://example.org/a.png", "a URL: "),
        ("S3://bucket/a.png", "a URL: "),
        ({"path": "hf://datasets/a/b.png", "bytes": None}, "a URL: "),
        ("data:image/png;base64,!!!", "not valid base64"),
        ("data:image/png;base64,", "no image: it has no bytes"),
        ("data:text/plain,hello", "not an image"),
        (Image.new("CMYK", (2, 2)), "not an image that can be kept"),
    ],
)
def test_anything_else_is_refused_with_the_column_and_a_cure(value, problem):
    with pytest.raises(RowError) as caught:
        IMAGE.of({"picture": value}, "picture")
    assert problem in caught.value.message
    assert caught.value.column == "picture"
    assert caught.value.cure


def test_relative_paths_start_from_the_root(tmp_path, monkeypatch):
    assert as_image("a/b.png", "image", root=str(tmp_path)) == Media(str(tmp_path / "a" / "b.png"))
    assert as_image("/x/b.png", "image", root=str(tmp_path)) == Media("/x/b.png")
    assert as_image({"path": "b.png", "bytes": None}, "image", root=str(tmp_path)).path == str(tmp_path / "b.png")
    monkeypatch.chdir(tmp_path)
    assert as_image("b.png", "image", root="pictures") == Media(str(tmp_path / "pictures" / "b.png"))


def test_the_same_file_or_the_same_bytes_are_the_same_media():
    assert same_media(Media("a.png"), Media("./x/../a.png"))
    assert same_media(Media("a.png", PNG), Media("b.png", PNG))
    assert not same_media(Media("a.png"), Media("b.png"))
    assert not same_media(Media(data=PNG), Media(data=PNG + b"\0"))
    assert not same_media(Media("a.png"), Media("a.png", PNG))
