"""Exported folders, loaded back by plain transformers and peft, give the same logits to the bit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from modalign.core.errors import UserError
from modalign.modalities.folders import new_folder
from modalign.modalities.lora import Lora
from modalign.modalities.text.export import merged_copy
from modalign.modalities.text.modality import Text

from .conftest import FAMILIES
from .test_lora import CASES, case_name, disturb

MakeText = Callable[..., Text]
IDS = torch.tensor([[5, 9, 40, 3, 250]])


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.eval()(input_ids=IDS).logits
    return found


def reloaded(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_full_model(text: MakeText, family: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    modality = text(family)
    policy = modality.load()
    disturb(policy)
    modality.export(policy, tmp_path / "out", "# The card\n")
    assert policy.training
    assert torch.equal(logits(reloaded(tmp_path / "out")), logits(policy))
    assert (tmp_path / "out" / "README.md").read_text() == "# The card\n"
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer("The cat sat")["input_ids"] == modality.tokenizer("The cat sat")["input_ids"]
    assert tokenizer.chat_template == modality.tokenizer.chat_template
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_the_dropout_the_model_came_with_is_kept(text: MakeText, tmp_path: Path) -> None:
    modality = text("llama")
    policy: Any = modality.load()
    modality.export(policy, tmp_path / "out", "card")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["attention_dropout"] == 0.1
    assert policy.config.attention_dropout == 0.0
    adapted = text("llama", lora=Lora())
    adapted.export(adapted.load(), tmp_path / "merged", "card")
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["attention_dropout"] == 0.1


def test_a_template_given_by_option_is_exported(text: MakeText, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    modality = text(chat_template="{{ messages[0].content }}")
    modality.export(modality.load(), tmp_path / "out", "card")
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == "{{ messages[0].content }}"


@pytest.mark.parametrize(("family", "lora"), CASES, ids=case_name)
def test_an_adapter_merged_and_alone(text: MakeText, family: str, lora: Lora, tmp_path: Path) -> None:
    from peft import PeftModel

    modality = text(family, lora=lora)
    policy = modality.load()
    disturb(policy)
    before = {name: value.clone() for name, value in policy.state_dict().items()}

    modality.export(policy, tmp_path / "merged", "card")
    merged = logits(merged_copy(policy))
    assert torch.equal(logits(reloaded(tmp_path / "merged")), merged)
    torch.testing.assert_close(merged, logits(policy), atol=1e-4, rtol=0)

    modality.export(policy, tmp_path / "adapter", "# The card\n", merge=False)
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    alone = PeftModel.from_pretrained(reloaded(Path(modality.model)), tmp_path / "adapter")
    assert torch.equal(logits(alone), logits(policy))
    assert (tmp_path / "adapter" / "README.md").read_text() == "# The card\n"

    after = policy.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_the_adapter_names_its_base(text: MakeText, tmp_path: Path) -> None:
    modality = text(lora=Lora())
    modality.export(modality.load(), tmp_path / "adapter", "card", merge=False)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == modality.model


def test_an_existing_folder_is_replaced_only_on_request(text: MakeText, tmp_path: Path) -> None:
    modality = text()
    policy = modality.load()
    (tmp_path / "out").mkdir()
    modality.export(policy, tmp_path / "out", "first")  # an empty folder is nobody's work
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        modality.export(policy, tmp_path / "out", "second")
    assert (tmp_path / "out" / "README.md").read_text() == "first"
    modality.export(policy, tmp_path / "out", "second", overwrite=True)
    assert (tmp_path / "out" / "README.md").read_text() == "second"
    assert not (tmp_path / "out" / "notes.txt").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_a_failure_leaves_no_trace_and_no_half_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.txt").write_text("old")

    def fail() -> None:
        with new_folder(tmp_path / "out", overwrite=True) as target:
            (target / "half.txt").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [entry.name for entry in tmp_path.rglob("*")] == ["out", "old.txt"]
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"), new_folder(tmp_path / "file" / "out", overwrite=False):
        pass


def test_options_that_do_nothing_are_refused(text: MakeText, tmp_path: Path) -> None:
    modality = text()
    policy = modality.load()
    with pytest.raises(UserError, match="this policy has none"):
        modality.export(policy, tmp_path / "out", "card", merge=False)
    with pytest.raises(UserError, match="no option 'merged'"):
        modality.export(policy, tmp_path / "out", "card", merged=True)
    adapted = text(lora=Lora())
    quantised: Any = adapted.load()
    quantised.get_base_model().is_quantized = True
    with pytest.raises(UserError, match="quantised"):
        adapted.export(quantised, tmp_path / "out", "card")
    assert list(tmp_path.iterdir()) == []
