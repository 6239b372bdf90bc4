"""Reading a config keeps the place of every key."""

from pathlib import Path

import pytest

from modalign.commands.config_files import ConfigFile, plain_key, read_config
from modalign.core.errors import UserError

TEXT = """\
model:
  objective:
    class_path: sum
    init_args:
      objectives:
        a: {class_path: dpo, init_args: {beta: 0.1}}
        b:
          class_path: sft
trainer:
  callbacks:
    - class_path: X
      init_args: {patience: 3}
"""


@pytest.fixture
def config(tmp_path: Path) -> ConfigFile:
    path = tmp_path / "c.yaml"
    path.write_text(TEXT)
    return read_config(path)


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("model", 1),
        ("model.objective", 2),
        ("model.objective.init_args.objectives", 5),
        ("model.objective.objectives.a.beta", 6),
        ("model.objective.objectives.beta", 6),
        ("model.objective.objectives.b", 7),
        ("trainer.callbacks.0.patience", 12),
        ("trainer.callbacks.patience", 12),
    ],
)
def test_place(config: ConfigFile, key: str, line: int) -> None:
    assert config.place(key) == f"{config.path}, line {line}"


def test_no_place_for_what_is_not_there(config: ConfigFile) -> None:
    assert config.place("data.train") is None
    assert config.place("") is None


def test_values_are_what_yaml_says(config: ConfigFile) -> None:
    assert config.values["trainer"]["callbacks"][0]["init_args"] == {"patience": 3}


def test_a_merged_mapping_may_be_overridden(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("model: &m {a: 1}\ndata:\n  <<: *m\n  a: 2\n")
    assert read_config(path).values["data"] == {"a": 2}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xff\xfe\x00", "is not a text file"),
        (b"model: {a: 1, a: 2}", "'model.a' is given a second time"),
        (b"- 1", "not a list"),
        (b"just words", "not a str"),
    ],
)
def test_what_is_no_config(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=expected):
        read_config(path)


def test_a_folder_and_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder"):
        read_config(tmp_path)
    with pytest.raises(UserError, match="There is no folder"):
        read_config(tmp_path / "no" / "c.yaml")
    with pytest.raises(UserError, match="recipes list"):
        read_config(tmp_path / "c.yaml")


def test_plain_key() -> None:
    assert plain_key("model.objective.init_args.beta") == "model.objective.beta"
    assert plain_key("model.objective.class_path") == "model.objective"
