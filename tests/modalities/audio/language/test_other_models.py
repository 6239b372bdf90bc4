"""Models whose sounds go another way than Qwen2-Audio's, and what of them is refused."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForMultimodalLM, AutoProcessor, Gemma3nAudioFeatureExtractor, VoxtralProcessor

from modalign.core.errors import ConfigError, UserError
from modalign.core.objectives.base import Needs
from modalign.modalities.audio.language.modality import AudioLanguage
from modalign.modalities.audio.language.model_checks import check_audio_tokens, check_no_adapter, check_processor
from modalign.modalities.audio.language.sounds import longest_sound
from modalign.modalities.text.loading import base_of
from modalign.modalities.vision_language.pathways import Embedded, RowByRow
from modalign.modalities.vision_language.towers import pathway_of
from tests import sounds
from tests.tiny_audio.language import OTHERS, RATE

from .rows import batch_of, clip, comparison, direct_logps, moved

ModalityOf = Callable[..., AudioLanguage]
LONGEST_OF_OTHERS = {"qwen2_5_omni": RATE, "musicflamingo": 2 * RATE, "granite_speech": None}


@pytest.mark.parametrize("name", OTHERS)
def test_log_probabilities_are_those_of_a_forward_of_each_row_alone(modality_of: ModalityOf, name: str) -> None:
    modality = modality_of(name)
    model = modality.load().eval()
    rows = [comparison([clip(0)]), comparison([clip(5)], rejected="A picture."), comparison([], "Say a colour.")]
    if name != "musicflamingo":  # its processor takes one sound a prompt
        rows.append(comparison([clip(5), clip(0)], "Is <audio> like <audio>?"))
    batch = batch_of(modality, rows)
    with torch.no_grad():
        found = modality.likelihood(model, batch, Needs()).logps
        for row, logps in zip(rows, found, strict=True):
            for candidate, own in zip(row.candidates, logps, strict=True):
                direct = direct_logps(modality, model, row.prompt, candidate.response[0]["content"])
                assert own.item() == pytest.approx(direct.sum().item(), rel=1e-5, abs=1e-4)
    assert isinstance(pathway_of(model, batch.inputs), Embedded if name == "qwen2_5_omni" else RowByRow)
    assert modality.medium.longest == LONGEST_OF_OTHERS[name]


def test_of_a_qwen_omni_the_thinker_is_exported(modality_of: ModalityOf, tmp_path: Path) -> None:
    modality = modality_of("qwen2_5_omni")
    policy = moved(modality.load())
    modality.export(policy, tmp_path / "out", "card")
    plain = AutoModelForMultimodalLM.from_pretrained(tmp_path / "out")
    weights = policy.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in plain.state_dict().items())
    assert type(AutoProcessor.from_pretrained(tmp_path / "out")) is type(modality.processor)


def test_no_more_is_refused_than_a_processor_cuts() -> None:
    cutting = Gemma3nAudioFeatureExtractor()
    assert longest_sound(SimpleNamespace(feature_extractor=cutting)) == 480_000
    whole = SimpleNamespace(feature_extractor=cutting, audio_kwargs={"truncation": False})
    assert longest_sound(whole) is None


def test_a_sound_of_any_length_where_nothing_is_cut(modality_of: ModalityOf) -> None:
    modality = modality_of("granite_speech")
    short, long = (modality.encode(comparison([sounds.noise(seconds, RATE)])) for seconds in (1.0, 5.0))
    assert len(long.cells[0].prompt) > len(short.cells[0].prompt) + 20
    assert not long.truncated


def test_a_processor_that_takes_no_sounds_with_a_text_is_refused(
    modality_of: ModalityOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="A VoxtralProcessor cannot be called with the text of a prompt and its sounds"):
        check_processor(VoxtralProcessor.__new__(VoxtralProcessor))
    modality = modality_of()
    monkeypatch.setattr(type(modality.processor), "__call__", VoxtralProcessor.__call__)
    with pytest.raises(UserError, match="Name a model whose processor can, such as a Qwen2-Audio"):
        modality.encode(comparison([clip(0)]))


def test_models_whose_own_forward_does_not_fit_or_draws_are_refused(
    modality_of: ModalityOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    modality, other = modality_of("musicflamingo"), modality_of("qwen2_audio")
    model = modality.load()
    with pytest.raises(ConfigError, match="cannot take the sounds of its Qwen2AudioProcessor"):
        check_audio_tokens(model, other._tokens, other.medium)
    forward, state = type(model).forward, torch.get_rng_state()

    def drawing(self: Any, *arguments: Any, **named: Any) -> Any:
        output = forward(self, *arguments, **named)
        output.logits = output.logits + torch.randn(())
        return output

    monkeypatch.setattr(type(model), "forward", drawing)
    with pytest.raises(ConfigError, match="hears the same sound in another way each time"):
        check_audio_tokens(model, modality._tokens, modality.medium)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_on_the_cpu_begins_to_use_no_gpu(modality_of: ModalityOf, monkeypatch: pytest.MonkeyPatch) -> None:
    modality = modality_of("musicflamingo")
    model = modality.load()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", None)
    check_audio_tokens(model, modality._tokens, modality.medium)


def test_a_model_with_an_adapter_of_its_own_is_refused(modality_of: ModalityOf, tmp_path: Path) -> None:
    from peft import LoraConfig

    model: Any = modality_of("granite_speech").load()
    adapter = LoraConfig(target_modules=["q_proj"])
    model.add_adapter(adapter, "speech")
    with pytest.raises(UserError, match=r"comes with an adapter of its own \(speech\)"):
        check_no_adapter(model)
    # It is written beside the weights, and names their folder as its base.
    adapter.base_model_name_or_path = str(tmp_path)
    adapter.save_pretrained(str(tmp_path))
    with pytest.raises(UserError, match="does not say which model it belongs to"):
        base_of(str(tmp_path))
