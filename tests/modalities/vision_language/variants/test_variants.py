"""Other images: which they are, that they keep size and draw, and how they come into a comparison."""

import io
import pickle
from math import exp
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonargparse import ArgumentParser
from PIL import Image

from modalign.commands.parsing import prepare_parsing
from modalign.core.batch import CHOSEN, REJECTED, Candidate, Comparison
from modalign.core.content import content_hash
from modalign.core.errors import ConfigError, RowError
from modalign.core.media import Media
from modalign.modalities.vision_language.prompts import question
from modalign.modalities.vision_language.variants.altered import AlteredImage
from modalign.modalities.vision_language.variants.base import ImageVariant, PixelVariant
from modalign.modalities.vision_language.variants.black import Black
from modalign.modalities.vision_language.variants.cropped import Cropped
from modalign.modalities.vision_language.variants.noised import Noised, signal_share
from modalign.modalities.vision_language.variants.retrieved import Retrieved
from modalign.modalities.vision_language.variants.swapped import Swapped
from modalign.plugins.manager import registry

PIXEL_VARIANTS: list[PixelVariant] = [Black(), Cropped(), Noised()]


def picture(seed: int = 0, size: tuple[int, int] = (24, 16)) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


def media(seed: int = 0, size: tuple[int, int] = (24, 16)) -> Media:
    file = io.BytesIO()
    picture(seed, size).save(file, "PNG")
    return Media(data=file.getvalue())


def row(*images: Any, text: str = "What?", **extra: Any) -> Comparison:
    candidates = (Candidate("yes", CHOSEN), Candidate("no", REJECTED))
    return Comparison(question(text, images), candidates, extra=extra)


def other_images(variant: ImageVariant, comparison: Comparison, images: Any, other: Any = None) -> list[Any]:
    return list(variant.images(comparison, images, other))


@pytest.mark.parametrize("variant", PIXEL_VARIANTS, ids=lambda variant: variant.name)
@pytest.mark.parametrize("kind", [media, picture])
def test_altered_pictures_have_the_size_of_theirs_and_are_the_same_each_time(
    variant: PixelVariant, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    (altered, other) = other_images(variant, row(kind(0), kind(1)), [kind(0), kind(1)])
    opened = altered.open()
    assert (opened.mode, opened.size) == ("RGB", (24, 16))
    assert opened.tobytes() != picture(0).tobytes()
    again = pickle.loads(pickle.dumps(altered))
    assert again.open().tobytes() == opened.tobytes()
    assert content_hash(again) == content_hash(altered) != content_hash(other)
    monkeypatch.setenv("PL_GLOBAL_SEED", "4")
    assert (altered.open().tobytes() == opened.tobytes()) == (variant.name == "black")
    assert content_hash(again) != content_hash(AlteredImage(kind(0), Cropped(0.3, 0.4)))


def test_what_cannot_be_decoded_is_told_when_it_is_opened() -> None:
    (altered,) = other_images(Black(), row(Media("gone.png")), [Media("gone.png")])
    with pytest.raises(RowError, match=r"gone\.png"):
        altered.open()


def test_black_is_black() -> None:
    assert not np.asarray(Black().alter(picture(), "")).any()


sides = st.integers(1, 60)


@settings(max_examples=60, deadline=None)
@given(size=st.tuples(sides, sides), seed=st.integers(0, 2**32))
def test_a_crop_lies_in_the_picture(size: tuple[int, int], seed: int) -> None:
    left, upper, right, lower = Cropped().box(size, Random(seed))
    assert 0 <= left < right <= size[0]
    assert 0 <= upper < lower <= size[1]


def test_crops_are_spread_as_torchvisions() -> None:
    """Area uniform between a hundredth and a fifth, the logarithm of the ratio uniform; places all over."""
    boxes = np.array([Cropped().box((400, 400), Random(seed)) for seed in range(3000)])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    share, ratio = width * height / 400**2, np.log(width / height)
    assert share.min() > 0.0095
    assert share.max() < 0.203
    assert share.mean() == pytest.approx(0.105, abs=0.004)
    assert np.quantile(share, [0.25, 0.75]) == pytest.approx([0.0575, 0.1525], abs=0.006)
    assert exp(np.abs(ratio).max()) < 4 / 3 + 0.03
    assert ratio.mean() == pytest.approx(0, abs=0.015)
    middle = (boxes[:, 0] / (400 - width)).mean()
    assert middle == pytest.approx(0.5, abs=0.02)


def test_a_crop_is_scaled_up_to_the_picture() -> None:
    halves = Image.new("RGB", (100, 100), "white")
    halves.paste("black", (50, 0, 100, 100))
    found = {tuple(np.unique(np.asarray(Cropped(0.01, 0.02).alter(halves, str(n))))) for n in range(20)}
    assert {(0,), (255,)} <= found


def test_the_noise_is_that_of_the_schedule() -> None:
    betas = [(5e-3 - 1e-5) / (1 + exp(6 - 12 * n / 999)) + 1e-5 for n in range(1000)]
    for step in (0, 500, 999):
        assert signal_share(step) == pytest.approx(float(np.prod([1 - beta for beta in betas[: step + 1]])), rel=1e-12)
    gray = Image.new("RGB", (200, 200), (124, 116, 104))
    pixels = np.asarray(Noised(500).alter(gray, "key"), dtype=np.float64)
    # CLIP's spread of a pixel, times the share of noise; hardly any of it is cut off.
    expected = np.array([0.26862954, 0.26130258, 0.27577711]) * 255 * (1 - signal_share(500)) ** 0.5
    assert pixels.std(axis=(0, 1)) == pytest.approx(expected, rel=0.03)
    assert pixels.mean(axis=(0, 1)) == pytest.approx([124, 116, 104], abs=1.5)


def test_more_steps_leave_less_of_the_picture() -> None:
    calm = Image.fromarray(np.tile(np.arange(60, 196, 2, dtype=np.uint8)[None, :, None], (68, 1, 3)))
    kept = [
        np.corrcoef(np.asarray(calm).ravel(), np.asarray(Noised(step).alter(calm, "k")).ravel())[0, 1]
        for step in (0, 300, 500, 999)
    ]
    assert kept[0] > 0.99
    assert kept == sorted(kept, reverse=True)
    assert kept[-1] < 0.4


def test_retrieved_images_are_the_rows_own() -> None:
    others = (media(7),)
    assert other_images(Retrieved(), row(media(), other_images=others), [media()]) == [media(7)]
    with pytest.raises(RowError, match="no other image") as caught:
        Retrieved().images(row(media()), [media()], None)
    assert "cropped" in caught.value.cure
    with pytest.raises(RowError, match="1 other images for 2"):
        Retrieved().images(row(media(), media(), other_images=others), [media(), media()], None)


def test_swapped_images_are_another_rows() -> None:
    assert Swapped.needs_other_row
    other = row(media(1), media(2))
    assert other_images(Swapped(), row(media()), [media()], other) == [media(1)]
    assert other_images(Swapped(), row(*[media()] * 3), [media()] * 3, other) == [media(1), media(2), media(1)]
    with pytest.raises(RowError, match="no other row with an image"):
        Swapped().images(row(media()), [media()], Comparison("text", other.candidates))


@pytest.mark.parametrize(
    "build",
    [
        lambda: Noised(1000),
        lambda: Noised(-1),
        lambda: Cropped(0.0),
        lambda: Cropped(0.3, 0.2),
        lambda: Cropped(max_area=1.1),
        lambda: Cropped(max_ratio=0.5),
    ],
)
def test_options_out_of_range_are_refused(build: Any) -> None:
    with pytest.raises(ConfigError, match=r"The image variant (noised|cropped) has"):
        build()


def test_variants_are_named_in_configs() -> None:
    assert set(registry().names("image_variant")) >= {"retrieved", "cropped", "noised", "black", "swapped"}
    prepare_parsing()
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--other_image", type=ImageVariant | None, default=None)
    for given_, expected in [("swapped", Swapped), ({"class_path": "noised", "init_args": {"step": 900}}, Noised)]:
        made = parser.instantiate(parser.parse_object({"other_image": given_})).other_image
        assert isinstance(made, expected)
        assert getattr(made, "step", 900) == 900
    assert parser.instantiate(parser.parse_args([])).other_image is None
    made = parser.instantiate(parser.parse_args(["--other_image", "cropped", "--other_image.max_area", "0.5"]))
    assert made.other_image.max_area == 0.5
