"""Running a quickstart from the command line, and what the tests of every modality's look at afterwards."""

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import Tensor

from modalign.cli import main
from modalign.modalities.quickstart import seeds
from modalign.modalities.quickstart.stages import one_thread
from tests.forking import forked

FORKS = SimpleNamespace(get_context=lambda method: get_context("fork"))
"""Stands for `multiprocessing` in a quickstart, whose processes would else import everything anew."""
SMALL = ("--smoke", "--seeds", "1", "--seed", "7")


def run_quickstart(modality: str, folder: Path, *options: str) -> Path:
    """Run it in a forked process, whose own processes are forked too.

    Args:
        modality: Its name on the command line.
        folder: Where it writes; what it prints stands in `output.txt` beside that.
        options: Further ones.

    Returns:
        The folder.
    """

    def prepare() -> None:
        seeds.multiprocessing = FORKS  # type: ignore[assignment]

    output = folder.parent / "output.txt"
    command = ["quickstart", modality, "--out", str(folder), *options]
    status = forked(command, output, output.with_name("errors.txt"), prepare=prepare)
    assert status == 0, output.with_name("errors.txt").read_text()
    return folder


def run_program(modality: str, folder: Path, *options: str) -> Path:
    """As `run_quickstart`, by the program itself."""
    command = [sys.executable, "-m", "modalign", "quickstart", modality, "--out", str(folder), *options]
    with (folder.parent / "output.txt").open("w") as output:
        subprocess.run(command, check=True, stdout=output)
    return folder


def printed(run: Path) -> str:
    return (run.parent / "output.txt").read_text()


def results_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "results.json").read_text())
    return found


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_one_row_each(output: str, policies: Sequence[str], above: str = "Preference:") -> None:
    """The table below `above` has a row for every policy, and nothing that a library says is printed."""
    table = output[output.index(above) : output.index("What the numbers say")]
    for policy in policies:
        assert sum(line.strip().startswith(f"{policy}  ") for line in table.splitlines()) == 1
    assert "Loading weights" not in output
    assert "rows read" not in output


def fit_again(
    run: Path, method: str, aligned: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """The weights that a quickstart exported, those that `modalign fit` with its config trains, and the start's.

    Args:
        run: The folder of the quickstart.
        method: The name of the training's folder.
        aligned: The exported model.
        weights: The name of their file in the folder of a model.
        monkeypatch: Restores what training sets.
    """
    from safetensors.torch import load_file

    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    again, config = run.parent / "again", run / "seed-7" / method / "config.yaml"
    # A quickstart trains with one thread; another number rounds otherwise.
    with one_thread():
        assert main(["fit", "--config", str(config), "--trainer.default_root_dir", str(again)]) == 0
    first, second, start = (load_file(each / weights) for each in (aligned, again / "export", run / "seed-7" / "start"))
    return first, second, start


def printed_command(run: Path) -> Any:
    """The config that `modalign fit` makes of the command in the next steps, for a user's own model and pairs."""
    from modalign.commands.lightning_cli import ModalignCLI

    output = printed(run)
    command = output[output.index("modalign fit") : output.index("\n\n[")].replace("\\\n", " ")
    options = shlex.split(command)[1:]
    config = ModalignCLI(options[0], options[1:], build=False).config.fit
    assert config.model.modality.init_args.model == "MODEL"
    assert config.data.train == "PAIRS.jsonl"
    return config


def assert_refused(
    modality: str, options: Sequence[str], told: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """These options are a user's mistake, which is told, and nothing is written."""
    assert main(["quickstart", modality, *options, "--out", str(folder)]) == 2
    assert told in capsys.readouterr().err
    assert not folder.exists()
