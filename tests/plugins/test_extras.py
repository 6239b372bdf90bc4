"""A missing package is answered with the smallest extra that brings it."""

import pytest

from modalign.plugins.extras import missing_package


@pytest.mark.parametrize(
    ("module", "cure"),
    [
        ("transformers.models.llama", "pip install 'modalign[text]'"),
        ("peft", "pip install 'modalign[text]'"),
        ("torchaudio", "pip install 'modalign[audio]'"),
        ("open_clip", "pip install 'modalign[image]' or 'modalign[vision-language]'"),
        ("PIL.Image", "pip install 'modalign[audio]' or 'modalign[image]' or 'modalign[vision-language]'"),
        ("soundfile", "pip install 'modalign[audio]'"),
        ("torchsde", "pip install 'modalign[audio]'"),
        ("audiobox_aesthetics.infer", "pip install 'modalign[audio-rewards]'"),
        ("sklearn.svm", "pip install 'modalign[image]' or 'modalign[vision-language]'"),
        ("diffusers", "pip install 'modalign[audio]' or 'modalign[image]'"),
        ("faiss", "pip install 'modalign[vision-language]'"),
        ("num2words", "pip install 'modalign[vision-language]'"),
        ("trl", None),
        ("numpyy", None),
        ("", None),
    ],
)
def test_missing_package(module: str, cure: str | None) -> None:
    assert missing_package(ModuleNotFoundError(name=module)) == cure
