"""Real pictures to learn from, scikit-learn's handwritten digits, and a judge that knows them."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from modalign.core.frechet import frechet_distance

Numbers = npt.NDArray[np.float64]

SIZE = 8
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CAPTIONS = tuple(f"an {digit}" if digit == "eight" else f"a {digit}" for digit in DIGITS)
COMPONENTS = 16


def write_digits(folder: Path) -> list[dict[str, str]]:
    """Write every digit as a PNG; returns a row of `prompt` and `image` for each, its path from `folder`'s parent."""
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    folder.mkdir(parents=True)
    rows = []
    for number, (shades, digit) in enumerate(zip(data.images, data.target, strict=True)):
        path = folder / f"{number:04d}.png"
        Image.fromarray(np.round(shades * (255 / 16)).astype(np.uint8)).save(path)
        rows.append({"prompt": CAPTIONS[digit], "image": f"{folder.name}/{path.name}"})
    return rows


class DigitJudge:
    """Reads digits, and says how far pictures are from the real ones; fitted to the real digits when first used."""

    def read(self, pictures: Sequence[Any]) -> list[str]:
        """What a support vector machine takes each picture for, as its caption."""
        return [CAPTIONS[digit] for digit in self._reader.predict(shades(pictures))]

    def distance(self, pictures: Sequence[Any]) -> float:
        """The Frechet distance to the real digits, in their first 16 principal components of shades from 0 to 1."""
        components = self._components.transform(shades(pictures))
        return frechet_distance(torch.from_numpy(components), torch.from_numpy(self._real_components))

    @cached_property
    def _real(self) -> tuple[Numbers, Numbers]:
        from sklearn.datasets import load_digits

        data = load_digits()
        return data.data / 16, data.target

    @cached_property
    def _reader(self) -> Any:
        from sklearn.svm import SVC

        return SVC(C=10).fit(*self._real)

    @cached_property
    def _components(self) -> Any:
        from sklearn.decomposition import PCA

        return PCA(COMPONENTS, svd_solver="full").fit(self._real[0])

    @cached_property
    def _real_components(self) -> Numbers:
        found: Numbers = self._components.transform(self._real[0])
        return found


def shades(pictures: Sequence[Any]) -> Numbers:
    """`(N, 64)`: the mean of a picture's colours at every pixel, from 0 (black) to 1 (white)."""
    colours = np.stack([np.asarray(picture.convert("RGB"), dtype=np.float64) for picture in pictures])
    found: Numbers = colours.mean(3).reshape(len(colours), -1) / 255
    return found


def contrasts(pictures: Sequence[Any]) -> Numbers:
    """`(N,)`: the standard deviation of each picture's shades."""
    found: Numbers = shades(pictures).std(axis=1)
    return found
