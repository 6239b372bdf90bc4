"""Running the program in this process: importing Lightning once, not once a test."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from modalign.cli import main
from tests.toy import write_pairs

CONFIG = """\
model:
  modality: tests.toy.Letters
  objective: dpo
  optimizer: {class_path: AdamW, init_args: {lr: 0.01}}
data:
  train: pairs.jsonl
  batch_size: 4
trainer:
  max_epochs: 1
  accelerator: cpu
  default_root_dir: run
export: {enabled: false}
"""


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    status: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*argv: str) -> Ran:
        capsys.readouterr()
        status = main(argv)
        captured = capsys.readouterr()
        return Ran(status, captured.out, captured.err)

    return run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with twelve pairs and a config that trains on them."""
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "pairs.jsonl", 12)
    (tmp_path / "run.yaml").write_text(CONFIG)
    return tmp_path
