"""The modality as a whole: options, fingerprint, pickling, light imports."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from modalign.core.content import content_hash
from modalign.core.errors import UserError
from modalign.modalities.lora import Lora
from modalign.modalities.text import plugin
from modalign.modalities.text.modality import Text

from .conftest import PAIRS, chat, reply

MakeText = Callable[..., Text]


def test_it_survives_pickling_with_its_tokenizer(text: MakeText, monkeypatch: pytest.MonkeyPatch) -> None:
    modality = text(lora=Lora(r=2), chat_template_kwargs={"mood": "calm"})
    expected = [content_hash(modality.encode(comparison).cells) for comparison in PAIRS]
    copy = pickle.loads(pickle.dumps(modality))
    monkeypatch.setattr("modalign.modalities.text.modality.load_tokenizer", None)  # it travels with the modality
    assert [content_hash(copy.encode(comparison).cells) for comparison in PAIRS] == expected
    assert copy.fingerprint() == modality.fingerprint()
    fresh = pickle.loads(pickle.dumps(text()))
    monkeypatch.undo()
    assert [content_hash(fresh.encode(comparison).cells) for comparison in PAIRS] == expected


CHANGING: list[dict[str, Any]] = [
    {"dtype": "bfloat16"},
    {"attn_implementation": "eager"},
    {"max_length": 64},
    {"max_prompt_length": 32},
    {"max_completion_length": 32},
    {"truncation": "keep_start"},
    {"add_eos": False},
    {"chat_template": "{{ messages[0].content }}"},
    {"chat_template_kwargs": {"enable_thinking": False}},
]
INDIFFERENT: list[dict[str, Any]] = [
    {"chunk_size": 7},
    {"layout": "packed"},
    {"layout": "shared_prompt"},
    {"gradient_checkpointing": True},
    {"lora": Lora()},
]


@pytest.mark.parametrize("options", CHANGING, ids=lambda options: next(iter(options)))
def test_options_that_change_a_logp_change_the_fingerprint(text: MakeText, options: dict[str, Any]) -> None:
    assert text(**options).fingerprint() != text().fingerprint()


@pytest.mark.parametrize("options", INDIFFERENT, ids=lambda options: next(iter(options)))
def test_options_that_change_nothing_do_not(text: MakeText, options: dict[str, Any]) -> None:
    assert text(**options).fingerprint() == text().fingerprint()


def test_a_changed_tokenizer_changes_the_fingerprint(text: MakeText) -> None:
    before, modality = text().fingerprint(), text()
    modality.tokenizer.add_tokens(["catdog"])
    assert modality.fingerprint() != before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk_size": 0}, "chunk_size is 0"),
        ({"max_length": -1}, "max_length is -1"),
        ({"quantization": "8bit"}, "lora"),
    ],
)
def test_options_out_of_range(text: MakeText, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        text(**options)


def test_previews_can_be_read(text: MakeText) -> None:
    assert text().preview("The cat", " sat") == "The cat\n sat"
    assert text().preview(chat("go"), reply("no")) == "user: go\nassistant: no"


def test_the_plugin_registers_what_exists() -> None:
    registered: dict[str, str] = {}

    def register(name: str, target: str, *, summary: str = "", extra: str = "") -> None:
        assert summary
        assert extra == "text"
        registered[name] = target

    plugin.modalign_register_modalities(register)
    plugin.modalign_register_commands(register)
    assert registered.keys() == {"text", "scratch"}
    for target in registered.values():
        module, _, attribute = target.partition(":")
        assert callable(getattr(__import__(module, fromlist=[attribute]), attribute))


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("modalign.modalities.text.plugin", ["torch", "transformers", "peft"]),
        ("modalign.modalities.text.modality", ["transformers", "peft"]),
        ("modalign.modalities.text.scratch_command", ["torch", "transformers", "peft"]),
    ],
)
def test_imports_are_light(module: str, heavy: list[str]) -> None:
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
