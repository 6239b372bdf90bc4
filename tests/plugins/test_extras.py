"""A missing package is answered with the smallest extra that brings it."""

import pytest

from modalign.plugins.extras import missing_package


@pytest.mark.parametrize(
    ("module", "cure"),
    [
        ("transformers.models.llama", "pip install 'modalign[text]'"),
        ("peft", "pip install 'modalign[text]'"),
        ("torchaudio", "pip install 'modalign[audio]'"),
        ("open_clip", "pip install 'modalign[image]'"),
        ("PIL.Image", "pip install 'modalign[image]'"),
        ("sklearn.svm", "pip install 'modalign[image]'"),
        ("diffusers", "pip install 'modalign[audio]' or 'modalign[image]'"),
        ("trl", None),
        ("numpyy", None),
        ("", None),
    ],
)
def test_missing_package(module: str, cure: str | None) -> None:
    assert missing_package(ModuleNotFoundError(name=module)) == cure
