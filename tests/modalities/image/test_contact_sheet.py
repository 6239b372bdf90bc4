"""The contact sheet: every picture in its row and column, captions beneath."""

import numpy as np
import pytest
from PIL import Image as Pictures

from modalign.core.errors import UserError
from modalign.modalities.image.contact_sheet import contact_sheet


def plain(colour: str, size: tuple[int, int] = (16, 16)) -> Pictures.Image:
    return Pictures.new("RGB", size, colour)


def test_rows_are_prompts_and_columns_policies() -> None:
    columns = {"base": [plain("red"), plain("lime")], "aligned": [plain("blue"), plain("yellow")]}
    sheet = np.asarray(contact_sheet(["a red circle", "a dog " * 40], columns, cell=64))
    expected = {(255, 0, 0): (0, 0), (0, 255, 0): (1, 0), (0, 0, 255): (0, 1), (255, 255, 0): (1, 1)}
    centres = {}
    for colour in expected:
        places = np.argwhere((sheet == colour).all(-1))
        assert len(places) == 64 * 64  # 16 pixels enlarged four times
        centres[colour] = places.mean(0)
    for colour, (row, column) in expected.items():
        for other, (other_row, other_column) in expected.items():
            difference = centres[colour] - centres[other]
            assert np.sign(difference).tolist() == [np.sign(row - other_row), np.sign(column - other_column)]


def test_captions_are_written_and_differ() -> None:
    columns = {"base": [plain("white")]}
    one, two = (np.asarray(contact_sheet([prompt], columns)) for prompt in ("a cat", "a dog"))
    assert one.shape == two.shape
    assert (one < 128).any()
    assert (one != two).any()


def test_pictures_keep_their_aspect() -> None:
    sheet = np.asarray(contact_sheet(["wide"], {"base": [plain("red", (400, 100))]}, cell=64))
    places = np.argwhere((sheet == (255, 0, 0)).all(-1))
    assert (np.ptp(places, axis=0) + 1).tolist() == [16, 64]


def test_columns_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="'base' has 1 responses for 2 prompts"):
        contact_sheet(["a", "b"], {"base": [plain("red")]})
    with pytest.raises(UserError, match="at least one prompt"):
        contact_sheet([], {})
