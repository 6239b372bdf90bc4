"""Tiny vision-language models, each written and loaded once a session when it is first asked for."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.modalities.vision_language.cells import Row, photo
from tests.tiny_vlms import FAMILIES


@pytest.fixture(scope="session")
def processor_of(vlm_folder: Callable[[str], Path]) -> Callable[[str], Any]:
    """From a family to its processor."""
    from transformers import AutoProcessor

    return cache(lambda family: AutoProcessor.from_pretrained(vlm_folder(family)))


@pytest.fixture(scope="session")
def loaded(vlm_folder: Callable[[str], Path]) -> Callable[[str], Any]:
    """From a family to its model in evaluation mode, loaded once: whoever changes its weights puts them back."""
    from transformers import AutoModelForImageTextToText

    return cache(lambda family: AutoModelForImageTextToText.from_pretrained(vlm_folder(family)).eval())


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each family in turn."""
    name: str = request.param
    return name


@pytest.fixture
def model_of(loaded: Callable[[str], Any]) -> Iterator[Callable[[str], Any]]:
    """The same models, every weight trainable and without gradients; left so for the next test."""
    used = []

    def model(family: str) -> Any:
        used.append(loaded(family))
        return used[-1]

    yield model
    for each in used:
        each.requires_grad_(True)
        each.zero_grad()
        each.eval()


@pytest.fixture(scope="session")
def rows_of(processor_of: Callable[[str], Any]) -> Callable[[str], list[Row]]:
    """Rows of a family: two with one image, one with another, one with both, and one with none, where it takes that."""

    def rows(family: str) -> list[Row]:
        processor = processor_of(family)
        cat, wide = photo(0), photo(1, 40, 18)
        found = [
            Row(processor, (cat,), "What is it?", "A red circle"),
            Row(processor, (cat,), "What is it?", "Two blue squares left of a triangle."),
            Row(processor, (wide,), "Which shape?", "circle"),
            Row(processor, (wide, cat), "Compare them.", "The first has more circles"),
        ]
        return found if family == "paligemma" else [*found, Row(processor, (), "Say a colour.", "green or red")]

    return cache(rows)
