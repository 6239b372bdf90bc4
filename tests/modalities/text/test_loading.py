"""Loading: what is refused, and that what is loaded is what was asked for."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modalign.core.errors import ConfigError, UserError
from modalign.core.objectives.base import Needs
from modalign.modalities.lora import Lora
from modalign.modalities.text.modality import Text
from modalign.modalities.text.scratch import train_tokenizer

from .conftest import FAMILIES, PAIRS, SENTENCES

MakeText = Callable[..., Text]
MakeFolder = Callable[[str], str]


@pytest.fixture
def copy_of(model_folder: MakeFolder, tmp_path: Path) -> MakeFolder:
    """A copy of a family's folder that a test may spoil."""

    def copied(family: str) -> str:
        return str(shutil.copytree(model_folder(family), tmp_path / family))

    return copied


def change_json(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_the_constructor_reads_nothing() -> None:
    Text("no/such-model")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_policy_is_trainable_and_in_training_mode(text: MakeText, family: str) -> None:
    policy = text(family).load()
    assert policy.training
    assert all(parameter.requires_grad for parameter in policy.parameters())
    assert {parameter.dtype for parameter in policy.parameters()} == {torch.float32}
    assert {parameter.device.type for parameter in policy.parameters()} == {"cpu"}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_dtype(text: MakeText, dtype: str) -> None:
    assert next(text(dtype=dtype).load().parameters()).dtype == getattr(torch, dtype)


def test_dtype_auto_is_the_checkpoints(text: MakeText, tmp_path: Path) -> None:
    text(dtype="bfloat16").export(text(dtype="bfloat16").load(), tmp_path / "half", "card")
    assert next(Text(str(tmp_path / "half"), dtype="auto", max_length=128).load().parameters()).dtype == torch.bfloat16
    assert next(Text(str(tmp_path / "half"), max_length=128).load().parameters()).dtype == torch.float32


def test_attention_implementation(text: MakeText) -> None:
    assert text(attn_implementation="eager").load().config._attn_implementation == "eager"
    with pytest.raises(UserError, match="no_such_attention"):
        text(attn_implementation="no_such_attention").load()


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_dropout_is_off_unless_wanted(text: MakeText, family: str) -> None:
    modality = text(family)
    batch = modality.collate([modality.encode(comparison) for comparison in PAIRS], [0, 1, 2])
    for wanted in (False, True):
        modality = text(family, disable_dropout=not wanted)
        policy = modality.load()
        first, second = (modality.likelihood(policy, batch, Needs()).logps for _ in range(2))
        assert torch.equal(first, second) != wanted


def test_missing_and_offline_models_are_named(model_folder: MakeFolder) -> None:
    for name in ("./no-such-folder", "no/such-model"):
        with pytest.raises(UserError, match=name):
            Text(name).load()
    with pytest.raises(UserError, match="no-such-tokenizer"):
        Text(model_folder("llama"), tokenizer="./no-such-tokenizer").load()


def test_a_folder_without_its_parts(copy_of: MakeFolder) -> None:
    folder = Path(copy_of("llama"))
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer_config\.json"):
        Text(str(folder)).load()
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(UserError, match=r"Loading the model .* failed"):
        Text(str(folder)).load()
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"(?s)Loading the model .* failed.*safetensors"):
        Text(str(folder)).load()
    change_json(folder / "config.json", model_type="no_such_type")
    with pytest.raises(UserError, match="no_such_type"):
        Text(str(folder)).load()


def test_weights_that_are_not_there_are_refused(copy_of: MakeFolder) -> None:
    folder = Path(copy_of("llama"))
    change_json(folder / "config.json", num_hidden_layers=3)
    with pytest.raises(UserError, match=r"lacks 9 of the model's weights, among them model\.layers\.2"):
        Text(str(folder), max_length=128).load()


def test_an_encoder_decoder_is_refused(copy_of: MakeFolder, tmp_path: Path) -> None:
    from transformers import T5Config

    T5Config(d_model=8, num_layers=1, num_heads=1, d_ff=8, vocab_size=300).save_pretrained(tmp_path / "t5")
    with pytest.raises(UserError, match="encoder-decoder"):
        Text(str(tmp_path / "t5")).load()


def test_a_tokenizer_larger_than_the_model(model_folder: MakeFolder, tmp_path: Path) -> None:
    train_tokenizer([*SENTENCES, "many more merges are learned from this " * 9], 340).save_pretrained(tmp_path / "big")
    with pytest.raises(UserError, match=r"token id is \d+, but the model embeds only 300"):
        Text(model_folder("llama"), tokenizer=str(tmp_path / "big"), max_length=128).load()


def test_a_tokenizer_without_an_end(copy_of: MakeFolder) -> None:
    folder = copy_of("llama")
    change_json(Path(folder) / "tokenizer_config.json", eos_token=None)
    with pytest.raises(UserError, match="no end-of-sequence token"):
        Text(folder).load()
    Text(folder, add_eos=False, max_length=128).load()


def test_max_length_beyond_the_models_positions(model_folder: MakeFolder) -> None:
    with pytest.raises(ConfigError, match=r"modality\.max_length is 1024 tokens, but the model takes at most 128"):
        Text(model_folder("llama")).load()


def test_another_model_is_loaded_the_same_way(text: MakeText, model_folder: MakeFolder) -> None:
    policy = text("llama", dtype="float64", revision="main").load(model_folder("gpt2"))
    assert type(policy).__name__ == "GPT2LMHeadModel"
    assert next(policy.parameters()).dtype == torch.float64


def test_an_adapters_folder_is_merged_into_its_base(text: MakeText, tmp_path: Path) -> None:
    adapted = text(lora=Lora(r=4))
    policy = adapted.load()
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    adapted.export(policy, tmp_path / "adapter", "card", merge=False)
    for file in (tmp_path / "adapter").glob("*token*"):
        file.unlink()  # the base's tokenizer is found

    merged = Text(str(tmp_path / "adapter"), max_length=128)
    loaded = merged.load()
    assert not merged.has_adapter(loaded)
    batch = merged.collate([merged.encode(comparison) for comparison in PAIRS], [0, 1, 2])
    expected = adapted.likelihood(policy, batch, Needs()).logps
    torch.testing.assert_close(merged.likelihood(loaded, batch, Needs()).logps, expected, atol=1e-4, rtol=0)

    again = Text(str(tmp_path / "adapter"), max_length=128, lora=Lora(r=2))
    with pytest.raises(UserError, match="started from the adapter"):
        again.export(again.load(), tmp_path / "unmerged", "card", merge=False)
    with pytest.raises(UserError, match="quantised"):
        Text(str(tmp_path / "adapter"), max_length=128, quantization="8bit", lora=Lora()).load()


def test_a_generation_config_that_could_not_be_saved_is_repaired(copy_of: MakeFolder, tmp_path: Path) -> None:
    folder = copy_of("llama")
    Path(folder, "generation_config.json").write_text('{"temperature": 0.6, "do_sample": false, "eos_token_id": 2}')
    modality = Text(folder, max_length=128)
    modality.export(modality.load(), tmp_path / "out", "card")
    assert json.loads((tmp_path / "out" / "generation_config.json").read_text())["temperature"] == 0.6


def test_gradient_checkpointing_where_there_is_none(tmp_path: Path, model_folder: MakeFolder, monkeypatch: Any) -> None:
    from transformers import LlamaForCausalLM

    monkeypatch.setattr(LlamaForCausalLM, "supports_gradient_checkpointing", False)
    with pytest.raises(UserError, match="does not support gradient checkpointing"):
        Text(model_folder("llama"), max_length=128, gradient_checkpointing=True).load()
