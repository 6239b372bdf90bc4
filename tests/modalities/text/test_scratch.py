"""Models from nothing: sizes, seeds, a tokenizer that writes any text, and the command."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modalign.core.errors import UserError
from modalign.modalities.text.modality import Text
from modalign.modalities.text.scratch import new_model, train_tokenizer, write_scratch_model
from modalign.modalities.text.scratch_command import main, texts_of

from .conftest import SENTENCES, chat


@given(written=st.text())
def test_any_text_survives(tokenizer: Any, written: str) -> None:
    ids = tokenizer(written)["input_ids"]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == written or "<|" in written


def test_the_vocabulary_is_as_large_as_asked(tokenizer: Any) -> None:
    assert len(tokenizer) == 300
    assert len(tokenizer(SENTENCES[0])["input_ids"]) < len(SENTENCES[0]) / 2
    with pytest.raises(UserError, match="A vocabulary of 258 tokens"):
        train_tokenizer(SENTENCES, 258)


def test_the_chat_template_ends_turns_in_the_end_token(tokenizer: Any) -> None:
    ids = tokenizer.apply_chat_template(chat("hi", "yo"), return_dict=False)
    assert ids[-1] == tokenizer.eos_token_id
    opened = tokenizer.apply_chat_template(chat("hi"), return_dict=False, add_generation_prompt=True)
    assert ids[: len(opened)] == opened
    assert tokenizer.decode(ids, skip_special_tokens=True) == "user\nhiassistant\nyo"


def test_a_seed_decides_the_weights_and_leaves_the_global_state(tokenizer: Any) -> None:
    state = torch.get_rng_state()
    first, again, other = (
        new_model(tokenizer, hidden_size=16, layers=1, heads=2, max_positions=32, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    weights = [model.model.layers[0].mlp.up_proj.weight for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert first.lm_head.weight is first.model.embed_tokens.weight
    assert (first.config.max_position_embeddings, first.config.num_hidden_layers) == (32, 1)
    with pytest.raises(UserError, match="3 heads do not divide a hidden size of 16"):
        new_model(tokenizer, hidden_size=16, heads=3)


def test_initializer_range_is_the_deviation_of_the_weights(tokenizer: Any) -> None:
    model = new_model(tokenizer, hidden_size=64, layers=1, max_positions=32, initializer_range=0.1)
    assert model.model.embed_tokens.weight.std().item() == pytest.approx(0.1, rel=0.05)
    assert model.model.layers[0].mlp.up_proj.weight.std().item() == pytest.approx(0.1, rel=0.05)


def test_the_folder_is_a_model_for_text(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"vocab_size": 280, "hidden_size": 16, "layers": 1, "heads": 2, "max_positions": 64}
    folder = write_scratch_model(SENTENCES, tmp_path / "model", **sizes)
    modality = Text(str(folder), max_length=64)
    assert len(modality.sample(modality.load(), ["The cat"], max_new_tokens=3)) == 1
    with pytest.raises(UserError, match="exists already"):
        write_scratch_model(SENTENCES, tmp_path / "model", **sizes)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"prompt": sentence, "chosen": chat(sentence), "score": 3} for sentence in SENTENCES]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    arguments = ["--texts", str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "model"), "--vocab-size", "290"]
    sizes = ["--hidden-size", "16", "--layers", "1", "--heads", "2", "--max-positions", "64", "--seed", "7"]
    assert main([*arguments, *sizes]) == 0
    assert str(tmp_path / "model") in capsys.readouterr().out
    assert Text(str(tmp_path / "model"), max_length=64).load().config.vocab_size == 290
    assert main([*arguments, *sizes, "--overwrite"]) == 0
    assert set(texts_of([str(tmp_path / "rows.jsonl")])) == set(SENTENCES)


def test_files_without_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "numbers.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(UserError, match=r"no text in .*numbers"):
        list(texts_of([str(tmp_path / "numbers.jsonl")]))
    (tmp_path / "broken.jsonl").write_text('{"a": \n')
    with pytest.raises(UserError, match="broken"):
        list(texts_of([str(tmp_path / "broken.jsonl")]))


@pytest.mark.parametrize("option", ["--hidden-size=0", "--heads=0", "--layers=-1", "--max-positions=0"])
def test_sizes_of_nothing_are_refused(tmp_path: Path, option: str) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a": "words"}\n')
    with pytest.raises(UserError, match=option.partition("=")[0]):
        main(["--texts", str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "model"), option])
    assert not (tmp_path / "model").exists()


def test_mistakes_on_the_command_line_are_user_errors() -> None:
    with pytest.raises(UserError, match="required: --texts, --out"):
        main([])
