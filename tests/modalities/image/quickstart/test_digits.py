"""The real digits as files, and their judge, against closed forms and against pictures made by hand."""

import numpy as np
import pytest
from PIL import Image

from modalign.modalities.image.quickstart.digits import (
    CAPTIONS,
    DigitJudge,
    contrasts,
    shades,
    write_digits,
)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[Image.Image]]:
    """Captions and pictures, as read from the written files."""
    folder = tmp_path_factory.mktemp("quickstart")
    rows = write_digits(folder / "digits")
    return [row["prompt"] for row in rows], [Image.open(folder / row["image"]) for row in rows]


def test_digits_are_written_as_they_are(digits: tuple[list[str], list[Image.Image]]) -> None:
    from sklearn.datasets import load_digits

    data = load_digits()
    captions, pictures = digits
    assert [CAPTIONS.index(caption) for caption in captions] == data.target.tolist()
    np.testing.assert_allclose(shades(pictures) * 16, data.data, atol=0.5 / 255 * 16)
    assert {picture.size for picture in pictures} == {(8, 8)}


def test_captions_are_english() -> None:
    assert CAPTIONS[7:9] == ("a seven", "an eight")


def test_judge_reads_the_real_digits_and_bolder_ones(digits: tuple[list[str], list[Image.Image]]) -> None:
    captions, pictures = digits
    judge = DigitJudge()
    assert judge.read(pictures) == captions
    bolder = [picture.point(lambda shade: min(255, int(1.3 * shade))) for picture in pictures]
    right = [read == caption for read, caption in zip(judge.read(bolder), captions, strict=True)]
    assert np.mean(right) > 0.98


def test_such_a_judge_reads_digits_that_it_never_saw() -> None:
    from sklearn.datasets import load_digits
    from sklearn.svm import SVC

    data = load_digits()
    seen, unseen = slice(0, 1200), slice(1200, None)
    assert (
        SVC(C=10).fit(data.data[seen] / 16, data.target[seen]).score(data.data[unseen] / 16, data.target[unseen]) > 0.95
    )


def test_distance_grows_from_nothing_as_pictures_leave_the_real_ones(
    digits: tuple[list[str], list[Image.Image]],
) -> None:
    _, pictures = digits
    judge = DigitJudge()
    brighter = [picture.point(lambda shade: min(255, shade + 20)) for picture in pictures]
    noise = np.random.default_rng(0).integers(0, 256, (len(pictures), 8, 8), dtype=np.uint8)
    distances = [judge.distance(each) for each in (pictures, brighter, [Image.fromarray(each) for each in noise])]
    assert distances[0] == pytest.approx(0, abs=1e-2)
    assert distances[0] < distances[1] < distances[2]


def test_shades_are_the_means_of_colours() -> None:
    picture = Image.new("RGB", (8, 8), (255, 0, 0))
    np.testing.assert_allclose(shades([picture]), np.full((1, 64), 1 / 3))
    np.testing.assert_allclose(contrasts([picture]), [0], atol=1e-12)
    half = Image.new("L", (8, 8))
    half.paste(255, (0, 0, 4, 8))
    np.testing.assert_allclose(contrasts([half]), [0.5])
