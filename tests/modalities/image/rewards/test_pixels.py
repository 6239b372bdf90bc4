import io
import math

import numpy as np
import pytest
from PIL import Image

from modalign.core.errors import ConfigError, RowError
from modalign.core.media import Media
from modalign.modalities.image.rewards.pixels import Brightness, Colorfulness, Compressibility
from modalign.plugins.manager import registry
from tests.modalities.image.formats.pictures import Pictures

NOISE = np.random.default_rng(0).integers(0, 256, (24, 16, 3), dtype=np.uint8)


def plain(*colour):
    return Image.new("RGB", (16, 16), colour)


def one(reward, image):
    (score,) = reward.score(["a cat"], [image]).tolist()
    return score


def test_names_modalities_and_shapes():
    for name in ("brightness", "colorfulness", "compressibility"):
        reward = registry().load("reward", name)()
        assert reward.name == name
        reward.check(Pictures())
        scores = reward.score(["a", "b", "c"], [plain(1, 2, 3), Image.fromarray(NOISE), plain(9, 9, 9)])
        assert scores.shape == (3,)
        assert str(scores.dtype) == "torch.float32"
        assert reward.score([], []).shape == (0,)


@pytest.mark.parametrize(
    ("colour", "expected"),
    [((0, 0, 0), 0.0), ((255, 255, 255), 1.0), ((255, 0, 0), 0.299), ((0, 255, 0), 0.587), ((0, 0, 255), 0.114)],
)
def test_brightness_is_mean_luma(colour, expected):
    assert one(Brightness(), plain(*colour)) == pytest.approx(expected, abs=1e-6)


def test_brightness_of_noise_is_the_mean_over_pixels():
    total = sum(0.299 * int(r) + 0.587 * int(g) + 0.114 * int(b) for row in NOISE for r, g, b in row)
    assert one(Brightness(), Image.fromarray(NOISE)) == pytest.approx(total / (24 * 16 * 255), rel=1e-6)


def test_colorfulness_in_closed_form():
    assert one(Colorfulness(), plain(77, 77, 77)) == 0.0
    # One colour has no spread: 0.3 times the distance of its opponents from grey.
    assert one(Colorfulness(), plain(255, 0, 0)) == pytest.approx(0.3 * math.hypot(255, 127.5), rel=1e-6)
    # Half red, half green: rg is 255 or -255, yb is 127.5 everywhere.
    halves = np.zeros((16, 16, 3), dtype=np.uint8)
    halves[:8, :, 0] = halves[8:, :, 1] = 255
    assert one(Colorfulness(), Image.fromarray(halves)) == pytest.approx(255 + 0.3 * 127.5, rel=1e-6)
    # Half blue, half black: yb is -255 or 0.
    halves = np.zeros((16, 16, 3), dtype=np.uint8)
    halves[:8, :, 2] = 255
    assert one(Colorfulness(), Image.fromarray(halves)) == pytest.approx(127.5 + 0.3 * 127.5, rel=1e-6)


def test_compressibility_is_the_size_of_the_jpeg():
    image = Image.fromarray(NOISE)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95)
    assert one(Compressibility(), image) == pytest.approx(-len(file.getvalue()) / 1000)
    assert one(Compressibility(wanted="large"), image) == pytest.approx(len(file.getvalue()) / 1000)
    assert (
        one(Compressibility(), plain(5, 5, 5)) > one(Compressibility(quality=50), image) > one(Compressibility(), image)
    )


@pytest.mark.parametrize("options", [{"quality": 0}, {"quality": 96}, {"wanted": "smal"}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError):
        Compressibility(**options)


@pytest.mark.parametrize("reward", [Brightness(), Colorfulness(), Compressibility()], ids=lambda reward: reward.name)
def test_a_file_and_its_decoded_image_score_the_same(reward, tmp_path):
    image = Image.fromarray(NOISE)
    image.save(tmp_path / "a.png")
    file = Media(str(tmp_path / "a.png"))
    assert one(reward, image) == one(reward, file) == one(reward, Media(data=file.read()))
    with pytest.raises(RowError):
        reward.score(["a"], ["a.png"])
