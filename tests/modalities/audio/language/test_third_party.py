"""Another sound of a stranger's package: the prompt's own, played backwards."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from modalign.core.batch import CHOSEN, OTHER_AUDIO, Comparison, under
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.language.modality import AudioLanguage
from modalign.plugins.manager import discover

from .rows import clip, comparison

PACKAGE = Path(__file__).parents[4] / "tests" / "third_party"


def test_responses_are_judged_under_its_sound(
    modality_of: Callable[..., AudioLanguage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under the same sound brought along by the data."""
    monkeypatch.syspath_prepend(PACKAGE)
    import modalign_vowels.plugin  # type: ignore[import-not-found]

    registry = discover({"vowels": modalign_vowels.plugin})
    variant = registry.load("audio_variant", "backwards")()
    sound, role = clip(0), under(CHOSEN, OTHER_AUDIO)
    reversed_sound = Clip(sound.samples.flip(1), sound.rate)

    row, told = comparison([sound]), comparison([sound], other_audios=(reversed_sound,))
    theirs, own = modality_of(other_audio=variant), modality_of()
    judged, wanted = (
        modality.encode(Comparison(each.prompt, (modality.extra_candidate(each, role, None),))).cells[0].media
        for modality, each in ((theirs, row), (own, told))
    )
    plain = own.encode(row).cells[0].media
    assert torch.equal(judged["input_features"], wanted["input_features"])
    assert not torch.equal(judged["input_features"], plain["input_features"])
