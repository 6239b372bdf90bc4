"""Pictures keep their aspect, and what a model is told of the crop describes what it sees."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Picture

from modalign.modalities.image.framing import Framing

sides = st.integers(8, 70)
resolutions = st.sampled_from([8, 16, 24])
shares = st.floats(0, 1, exclude_max=True)


@given(sides, sides, resolutions)
def test_the_shorter_side_gets_the_resolution_and_the_aspect_stays(width: int, height: int, resolution: int) -> None:
    resized = Framing(resolution).resized(Picture.new("RGB", (width, height), (1, 2, 3)))
    assert resized.dtype == torch.uint8
    _, h, w = resized.shape
    assert min(h, w) == resolution
    exact = max(width, height) / min(width, height) * resolution
    assert abs(max(h, w) - exact) <= 0.5
    assert (h >= w) == (height >= width) or h == w
    assert resized.flatten(1).float().mean(1).tolist() == [1, 2, 3]


def coordinates(height: int, width: int) -> torch.Tensor:
    """A picture whose pixels say where they are."""
    rows = torch.arange(height).view(-1, 1).expand(height, width)
    columns = torch.arange(width).expand(height, width)
    return torch.stack([rows, columns, torch.zeros_like(rows)]).to(torch.uint8)


@given(
    resolutions, st.integers(0, 60), st.booleans(), st.sampled_from(["center", "random"]), shares, shares, st.booleans()
)
def test_the_crop_is_where_the_numbers_say(
    side: int, extra: int, wide: bool, crop: str, vertical: float, horizontal: float, flipped: bool
) -> None:
    height, width = (side, side + extra) if wide else (side + extra, side)
    square, numbers = Framing(side, crop).framed(
        coordinates(height, width), (111.0, 222.0), (vertical, horizontal), flipped
    )
    assert square.shape == (3, side, side)
    assert square.is_contiguous()
    h, w, top, left, target_h, target_w = numbers
    assert (h, w, target_h, target_w) == (111, 222, side, side)
    shown = coordinates(height, width)
    shown = shown.flip(-1) if flipped else shown
    top, left = int(top), int(left)
    assert (square == shown[:, top : top + side, left : left + side]).all()
    if crop == "center":
        assert abs(2 * top + side - height) <= 1
        assert abs(2 * left + side - width) <= 1


def test_a_random_crop_reaches_every_place() -> None:
    framing, pixels = Framing(8, "random"), coordinates(8, 11)
    places = {framing.framed(pixels, (8.0, 11.0), (0.5, share), False)[1][3] for share in np.linspace(0, 0.999, 40)}
    assert places == {0, 1, 2, 3}


def test_a_picture_of_the_right_size_is_not_resampled() -> None:
    values = np.random.default_rng(0).integers(0, 256, (16, 21, 3), dtype=np.uint8)
    assert (Framing(16).resized(Picture.fromarray(values)).permute(1, 2, 0).numpy() == values).all()


def test_scaling_down_is_antialiased() -> None:
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    resized = Framing(8).resized(Picture.fromarray(stripes))
    assert (resized.float() - 127.5).abs().max() < 8
