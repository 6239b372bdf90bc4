"""Stage one: it answers without the heavy libraries, and hands over."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import modalign
from modalign import cli
from modalign.core.errors import UserError
from modalign.plugins.registry import Entry, Plugin, Registry
from tests.cli.conftest import Run

HEAVY = ("torch", "lightning", "transformers", "jsonargparse", "datasets")


def command(name: str, target: str) -> Registry:
    plugin = Plugin("theirs", "their-package", "2.0")
    return Registry([plugin], [Entry("command", name, target, plugin)])


@pytest.mark.parametrize(
    "argv", [["--help"], ["--version"], ["plugins"], ["recipes", "list"], ["fti"], ["fit", "--config", "absent.yaml"]]
)
def test_light_commands_import_nothing_heavy(argv: list[str]) -> None:
    code = (
        "import json, sys; from modalign.cli import main; main(sys.argv[1:]);"
        "print(json.dumps([name for name in sys.modules if '.' not in name]))"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "pluggy" in loaded
    assert not set(HEAVY) & set(loaded)


def test_help_names_every_command(run: Run) -> None:
    ran = run("--help")
    assert ran.status == 0
    for name in ("fit", "validate", "test", "predict", "check", "export", "generate", "recipes", "plugins", "doctor"):
        assert f"\n  {name} " in ran.out
    assert run().out == ran.out


def test_version(run: Run) -> None:
    assert run("--version").out == f"modalign {modalign.__version__}\n"


def test_a_misspelt_command(run: Run) -> None:
    ran = run("fti")
    assert ran.status == 2
    assert "no command is called 'fti'; did you mean 'fit'" in ran.err


def test_an_option_before_the_command(run: Run) -> None:
    ran = run("--config", "x.yaml", "fit")
    assert ran.status == 2
    assert "--config stands before the command" in ran.err


def test_the_console_script_returns_the_status(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("modalign")
    assert subprocess.run([script, "--version"], capture_output=True, check=False).returncode == 0
    assert subprocess.run([script, "recipes", "show", "nothing"], capture_output=True, check=False).returncode == 2
    assert subprocess.run([sys.executable, "-m", "modalign", "fti"], capture_output=True, check=False).returncode == 2


def answers_seven(argv: list[str]) -> int:
    assert argv == ["a", "--b"]
    return 7


def returns_nothing(argv: list[str]) -> None:
    """A command may."""


def is_mistaken(argv: list[str]) -> int:
    raise UserError("what", "cure")


def is_interrupted(argv: list[str]) -> int:
    raise KeyboardInterrupt


def is_broken(argv: list[str]) -> int:
    raise ZeroDivisionError("oh")


@pytest.mark.parametrize(
    ("function", "status", "told"),
    [
        ("answers_seven", 7, ""),
        ("returns_nothing", 0, ""),
        ("is_mistaken", 2, "modalign: error: what\n  -> cure\n"),
        ("is_interrupted", 130, "modalign: interrupted\n"),
    ],
)
def test_commands_of_plugins(function: str, status: int, told: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "registry", lambda: command("mine", f"{__name__}:{function}"))
    ran = run("mine", "a", "--b")
    assert (ran.status, ran.err) == (status, told)


def test_an_unexpected_exception_keeps_its_traceback_and_names_the_plugin(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = command("mine", f"{__name__}:is_broken")
    monkeypatch.setattr(cli, "registry", lambda: found)
    monkeypatch.setattr("modalign.commands.console.registry", lambda: found)
    with pytest.raises(ZeroDivisionError):
        run("mine")
    told = capsys.readouterr().err
    assert "ZeroDivisionError" in told
    assert "plugin 'theirs' (their-package 2.0)" in told


def lacks_an_extra(argv: list[str]) -> int:
    raise ModuleNotFoundError("No module named 'torchaudio.io'", name="torchaudio.io")


def lacks_something_else(argv: list[str]) -> int:
    raise ModuleNotFoundError("No module named 'zzz'", name="zzz")


def test_a_missing_extra_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "registry", lambda: command("mine", f"{__name__}:lacks_an_extra"))
    ran = run("mine")
    assert ran.status == 2
    assert ran.err == "modalign: error: torchaudio.io is not installed\n  -> pip install 'modalign[audio]'\n"
    monkeypatch.setattr(cli, "registry", lambda: command("mine", f"{__name__}:lacks_something_else"))
    with pytest.raises(ModuleNotFoundError):
        run("mine")


def test_debugging_shows_the_traceback_of_a_mistake(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODALIGN_DEBUG", "1")
    with pytest.raises(UserError):
        run("fti")


def test_plugins_lists_everything(run: Run) -> None:
    ran = run("plugins")
    assert ran.status == 0
    for text in ("objective\n", "dpo", "'builtin-objectives' (modalign", "format\n", "hh_rlhf", "modality\n", "text"):
        assert text in ran.out
    assert "simpo" not in run("plugins", "format").out
    assert "invalid choice: 'formt'" in run("plugins", "formt").err


def test_plugins_shows_what_failed_and_what_is_disabled(tmp_path: Path) -> None:
    (tmp_path / "broken_plugin.py").write_text("import a_module_that_is_not_there")
    info = tmp_path / "broken_package-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-package\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text("[modalign]\nbroken = broken_plugin\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "MODALIGN_DISABLE_PLUGINS": "builtin-rewards"}
    command = [sys.executable, "-m", "modalign", "plugins"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert "failed\n  plugin 'broken' (broken-package 0.3): cannot be loaded: ModuleNotFoundError" in done.stdout
    assert "disabled by MODALIGN_DISABLE_PLUGINS\n  plugin 'builtin-rewards'" in done.stdout
    assert "  brightness  " in done.stdout
    assert "  length  " not in done.stdout
    assert "dpo" in done.stdout
    assert done.stderr.count("plugin 'broken'") == 1


def test_running_out_of_memory_is_answered_with_what_to_change(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from modalign.commands.lightning_cli import ModalignCLI

    def exhausted(self: ModalignCLI) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")

    monkeypatch.setattr(ModalignCLI, "run", exhausted)
    ran = run("fit", "--config", "run.yaml")
    assert ran.status == 1
    assert "out of memory: CUDA out of memory. Tried to allocate 2 GiB\n  -> Halve data.batch_size" in ran.err


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_interrupted_run_exits_with_130(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modalign.core.module import PreferenceModule

    before = signal.getsignal(signal.SIGINT)  # which Lightning switches off while it shuts down
    monkeypatch.setattr(PreferenceModule, "training_step", interrupt)
    ran = run("fit", "--config", "run.yaml")
    signal.signal(signal.SIGINT, before)
    assert ran.status == 130
    assert "modalign: interrupted" in ran.err


def test_a_bar_of_ones_own_takes_the_place_of_ours(run: Run, folder: Path) -> None:
    ran = run("fit", "--config", "run.yaml", "--trainer.callbacks=RichProgressBar")
    assert ran.status == 0, ran.err
    assert "was changed to" not in ran.err


def test_evaluation_does_not_write_into_the_metrics_of_training(run: Run, folder: Path) -> None:
    assert run("fit", "--config", "run.yaml").status == 0
    metrics = folder / "run" / "metrics.jsonl"
    before = metrics.read_text()
    for command in ("validate", "test"):
        ran = run(command, "--config", "run.yaml", "--data.validation", "pairs.jsonl", "--ckpt_path", "last")
        assert ran.status == 0, ran.err
        assert "loss" in (folder / "run" / f"metrics-{command}.jsonl").read_text()
    assert metrics.read_text() == before
