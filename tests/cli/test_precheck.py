"""What is told before torch is imported agrees with what the parser knows."""

from pathlib import Path

import pytest

from modalign.commands.lightning_cli import ModalignCLI
from modalign.commands.precheck import SLOTS, options_of, precheck, top_level
from modalign.core.errors import UserError
from modalign.plugins.manager import registry
from modalign.plugins.registry import KINDS

PARTS = ["--model.modality", "tests.toy.Letters", "--model.objective", "dpo", "--data.train", "x"]


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_the_top_level_keys_are_the_parsers(command: str) -> None:
    parsed = ModalignCLI(command, PARTS, build=False).config[command]
    assert set(top_level(command)) == set(parsed.as_dict()) - {"config"}


def test_the_slots_hold_registered_kinds() -> None:
    parsed = ModalignCLI("fit", PARTS, build=False).config["fit"]
    for key, kind in SLOTS.items():
        section, name = key.split(".")
        assert name in parsed[section]
        assert kind in KINDS


def test_every_problem_is_listed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("modle: {}\nmodel: {objective: dpoo, modality: txt}\ndata: 3\n")
    with pytest.raises(UserError) as caught:
        precheck("fit", ["--config", str(path), "--model.reference=frozn", "--trianer.max_steps", "3"])
    for text in ("'modle'", "'dpoo'", "'txt'", "data is a section", "'frozn'", "--trainer.max_steps"):
        assert text in str(caught.value)


@pytest.mark.parametrize("name", ["my_package.losses.Mine", "./objective.yaml", "Dpo", "null", "{class_path: dpo}"])
def test_what_only_the_parser_can_judge_is_left_to_it(name: str) -> None:
    assert precheck("fit", ["--model.objective", name]) == ()


@pytest.mark.parametrize("name", registry().names("objective"))
def test_registered_names_pass(name: str) -> None:
    assert precheck("fit", [f"--model.objective={name}"]) == ()


def test_options_of() -> None:
    argv = ["-c", "a.yaml", "--config=b.yaml", "--x.y", "-1", "--flag", "--z+=3", "word"]
    assert list(options_of(argv)) == [
        ("config", "a.yaml"),
        ("config", "b.yaml"),
        ("x.y", "-1"),
        ("flag", None),
        ("z+", "3"),
        ("", "word"),
    ]
