"""What is written loads with transformers or peft alone, and computes what the policy computed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoProcessor

from modalign.core.errors import UserError
from modalign.modalities.audio.tokens.likelihood import token_logps
from modalign.modalities.audio.tokens.modality import AudioTokens
from modalign.modalities.lora import Lora

from .conftest import cells

MakeTokens = Callable[..., AudioTokens]


def changed(policy: Any) -> Any:
    """After training, as it were."""
    with torch.no_grad():
        for weight in policy.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    return policy


def logps(modality: AudioTokens, policy: Any) -> Tensor:
    with torch.no_grad():
        return token_logps(modality.family, policy, cells(modality, [3, 5]), 10)[0]


@pytest.mark.parametrize("lora", [None, Lora(r=2)])
@pytest.mark.parametrize("name", ["musicgen", "dia"])
def test_a_folder_of_transformers(tokens: MakeTokens, tmp_path: Path, name: str, lora: Lora | None) -> None:
    modality = tokens(name, lora=lora, dtype="float32")
    policy = changed(modality.load())
    expected, before = logps(modality, policy), {k: w.clone() for k, w in policy.state_dict().items()}
    modality.export(policy, tmp_path / "out", "a card")
    assert all(torch.equal(weight, before[key]) for key, weight in policy.state_dict().items())
    assert (tmp_path / "out" / "README.md").read_text() == "a card"

    import transformers

    loaded = getattr(transformers, modality.family.model_class).from_pretrained(tmp_path / "out")
    processor = AutoProcessor.from_pretrained(tmp_path / "out")
    assert loaded.generation_config.to_diff_dict() == modality.load().generation_config.to_diff_dict()
    assert list(processor.tokenizer("a dog")["input_ids"]) == list(modality.tokenizer("a dog")["input_ids"])
    again = AudioTokens(str(tmp_path / "out"), cache="off")
    torch.testing.assert_close(logps(again, again.load()), expected, rtol=2e-5, atol=1e-5)
    torch.testing.assert_close(logps(again, loaded.eval()), expected, rtol=2e-5, atol=1e-5)
    if name == "musicgen":  # its dropout was off while it trained
        assert loaded.config.decoder.dropout == 0.1
    with pytest.raises(UserError, match="exists already"):
        modality.export(policy, tmp_path / "out", "another card")


@pytest.mark.parametrize("name", ["musicgen", "dia"])
def test_an_adapter_alone(tokens: MakeTokens, tmp_path: Path, name: str) -> None:
    from peft import PeftModel

    modality = tokens(name, lora=Lora(r=2))
    policy = changed(modality.load())
    expected = logps(modality, policy)
    modality.export(policy, tmp_path / "adapter", "a card", merge=False)
    base = tokens(name).load()
    torch.testing.assert_close(logps(modality, PeftModel.from_pretrained(base, tmp_path / "adapter")), expected)

    merged = AudioTokens(str(tmp_path / "adapter"), cache="off", dtype="float64")
    torch.testing.assert_close(logps(merged, merged.load()), expected)
    # As another model, for a reference.
    torch.testing.assert_close(logps(modality, tokens(name).load(str(tmp_path / "adapter"))), expected)


def test_exports_that_cannot_be_had(tokens: MakeTokens, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no option 'format'"):
        tokens("dia").check_export({"format": "onnx"})
    with pytest.raises(UserError, match="this policy has none"):
        tokens("dia").check_export({"merge": False})
    assert tokens("dia").library({"merge": False}) == "peft"


def test_a_second_model_is_of_the_same_class(tokens: MakeTokens, token_folder: Callable[[str], Path]) -> None:
    with pytest.raises(UserError, match="is no DiaForConditionalGeneration"):
        tokens("dia").load(str(token_folder("musicgen")))
    with pytest.raises(UserError, match=r"has 4 codebooks with delays \(0, 0, 1, 1\), and the policy 3 with"):
        tokens("musicgen").load(str(token_folder("musicgen_stereo")))
