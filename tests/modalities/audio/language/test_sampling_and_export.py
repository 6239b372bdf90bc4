"""Answers to sounds, and folders that transformers and peft load back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from modalign.modalities.audio.language.modality import AudioLanguage
from modalign.modalities.lora import Lora
from modalign.modalities.vision_language.prompts import AUDIO, question
from tests.tiny_audio.language import RATE

from .rows import clip, moved, waveforms

ModalityOf = Callable[..., AudioLanguage]
ASKED = question("What is it?", [clip(2)], AUDIO)


def prompts(family: str) -> list[Any]:
    """Of one sound, of another, of none, of text alone; of two, where the processor takes that."""
    found = [ASKED, question("Which sound is it, then?", [clip(5)], AUDIO), question("Say a colour."), "Hello"]
    both = question("Is <audio> like <audio>?", [clip(0), clip(6)], AUDIO)
    return [*found, both] if family == "qwen2_audio" else found


def inputs_of(processor: Any) -> dict[str, Tensor]:
    text = str(processor.apply_chat_template(ASKED, add_generation_prompt=True))
    made = processor(
        text=[text],
        audio=waveforms(ASKED),
        sampling_rate=RATE,
        return_tensors="pt",
        add_special_tokens="<bos>" not in text,
    )
    return dict(made)


def logits(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.eval()(**inputs).logits
    return found


def test_answers_are_those_of_transformers(modality_of: ModalityOf, loaded: Callable[[str], Any], family: str) -> None:
    modality, model = modality_of(family), loaded(family).eval()
    ((found,),) = modality.sample(model, [ASKED], temperature=0, max_new_tokens=6)
    inputs = inputs_of(modality.processor)
    never = sorted({model.config.audio_token_id, *modality._tokens.placeholder_ids})
    made = model.generate(**inputs, do_sample=False, max_new_tokens=6, suppress_tokens=never, use_cache=True)
    said = modality.tokenizer.decode(made[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert found == [{"role": "assistant", "content": said}]


def test_answers_do_not_depend_on_what_else_is_asked(
    modality_of: ModalityOf, loaded: Callable[[str], Any], family: str
) -> None:
    modality, model, asked = modality_of(family), loaded(family).eval(), prompts(family)
    together = modality.sample(model, asked, n=2, seed=3, max_new_tokens=5)
    assert together == modality.sample(model, asked, n=2, seed=3, max_new_tokens=5)
    for prompt, answers in zip(asked, together, strict=True):
        assert modality.sample(model, [prompt], n=2, seed=3, max_new_tokens=5) == [answers]
    assert isinstance(together[3][0], str)
    other = modality.sample(model, [question("What is it?", [clip(7)], AUDIO)], n=2, seed=3, max_new_tokens=5)
    assert other[0] != together[0]


def test_a_full_model_with_its_processor(modality_of: ModalityOf, family: str, tmp_path: Path) -> None:
    import transformers
    from transformers import AutoProcessor

    modality = modality_of(family)
    policy = moved(modality.load())
    modality.export(policy, tmp_path / "out", "# The card\n")
    expected, found = inputs_of(modality.processor), inputs_of(AutoProcessor.from_pretrained(tmp_path / "out"))
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    model = getattr(transformers, type(policy).__name__).from_pretrained(tmp_path / "out")
    assert torch.equal(logits(model, found), logits(policy, expected))
    assert (tmp_path / "out" / "README.md").read_text() == "# The card\n"


@pytest.mark.parametrize("name", ["qwen2_audio", "audioflamingo3"])
def test_an_adapter_merged_and_alone(
    modality_of: ModalityOf, alm_folder: Callable[[str], Path], name: str, tmp_path: Path
) -> None:
    import transformers
    from peft import PeftModel

    modality = modality_of(name, lora=Lora(r=2))
    policy = moved(modality.load())
    modality.export(policy, tmp_path / "merged", "card")
    modality.export(policy, tmp_path / "alone", "card", merge=False)
    inputs = inputs_of(modality.processor)
    expected = logits(policy, inputs)
    kind = getattr(transformers, type(policy.get_base_model()).__name__)  # type: ignore[operator]
    merged, base = (kind.from_pretrained(folder) for folder in (tmp_path / "merged", alm_folder(name)))
    torch.testing.assert_close(logits(merged, inputs), expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(logits(base, inputs), expected, atol=1e-3)
    assert torch.equal(logits(PeftModel.from_pretrained(base, tmp_path / "alone"), inputs), expected)
    again = AudioLanguage(str(tmp_path / "alone"), max_length=512)
    torch.testing.assert_close(logits(again.load(), inputs), expected, rtol=1e-5, atol=1e-5)
