"""Exported folders, loaded back by plain transformers and peft, give the same logits and the same inputs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modalign.core.errors import UserError
from modalign.modalities.lora import Lora
from modalign.modalities.vision_language.modality import VisionLanguage

from .scenes import picture

MakeFolder = Callable[[str], Path]
MESSAGES = [{"role": "user", "content": [{"type": "image", "image": picture(0)}, {"type": "text", "text": "What?"}]}]


def inputs_of(processor: Any) -> dict[str, Tensor]:
    made = processor.apply_chat_template(
        MESSAGES, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    return {name: value for name, value in made.items() if name != "labels"}


def logits(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.eval()(**inputs).logits
    return found


def moved(policy: nn.Module) -> nn.Module:
    """The policy after a step in a random direction."""
    draw = torch.Generator().manual_seed(7)
    for parameter in policy.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=draw)
    return policy


def test_a_full_model_with_its_processor(vlm_folder: MakeFolder, family: str, tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    modality = VisionLanguage(str(vlm_folder(family)), max_length=512)
    policy = moved(modality.load())
    modality.export(policy, tmp_path / "out", "# The card\n")
    processor = AutoProcessor.from_pretrained(tmp_path / "out")
    expected, found = inputs_of(modality.processor), inputs_of(processor)
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "out")
    assert torch.equal(logits(model, found), logits(policy, expected))
    assert (tmp_path / "out" / "README.md").read_text() == "# The card\n"


@pytest.mark.parametrize("name", ["llava", "qwen3_vl", "idefics3", "mllama"])
def test_an_adapter_merged_and_alone(vlm_folder: MakeFolder, name: str, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText, AutoProcessor

    modality = VisionLanguage(str(vlm_folder(name)), max_length=512, lora=Lora(r=2))
    policy = moved(modality.load())
    before = {key: value.clone() for key, value in policy.state_dict().items()}
    modality.export(policy, tmp_path / "merged", "card")
    modality.export(policy, tmp_path / "alone", "card", merge=False)
    assert all(torch.equal(value, before[key]) for key, value in policy.state_dict().items())
    inputs = inputs_of(modality.processor)
    expected = logits(policy, inputs)
    merged = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(merged, inputs), expected, rtol=1e-5, atol=1e-5)
    base = AutoModelForImageTextToText.from_pretrained(vlm_folder(name))
    assert not torch.allclose(logits(base, inputs), expected, atol=1e-3)
    alone: Any = PeftModel.from_pretrained(base, tmp_path / "alone")
    assert torch.equal(logits(alone, inputs), expected)
    assert AutoProcessor.from_pretrained(tmp_path / "alone").chat_template == modality.processor.chat_template
    again = VisionLanguage(str(tmp_path / "alone"), max_length=512)
    torch.testing.assert_close(logits(again.load(), inputs), expected, rtol=1e-5, atol=1e-5)


def test_a_template_given_by_option_is_exported(vlm_folder: MakeFolder, tmp_path: Path) -> None:
    from transformers import AutoProcessor

    template = VisionLanguage(str(vlm_folder("llava"))).processor.chat_template.replace("user", "person") + "!"
    modality = VisionLanguage(str(vlm_folder("llava")), max_length=512, chat_template=template)
    modality.processor.tokenizer.chat_template = "another"
    modality.export(modality.load(), tmp_path / "out", "card")
    assert AutoProcessor.from_pretrained(tmp_path / "out").chat_template == template


def test_what_cannot_be_written_is_refused(vlm_folder: MakeFolder, tmp_path: Path) -> None:
    modality = VisionLanguage(str(vlm_folder("llava")), max_length=512)
    with pytest.raises(UserError, match="Exporting vision_language has no option 'merg'"):
        modality.check_export({"merg": True})
    with pytest.raises(UserError, match="has none"):
        modality.check_export({"merge": False})
