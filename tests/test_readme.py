"""The README tells the truth: its commands, names and code exist and work."""

import re
import subprocess
from pathlib import Path

import pytest

from modalign.plugins.hookspecs import modalign_register_objectives
from modalign.plugins.manager import registry
from tests.recipes import stand_ins

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("kind", ["objective", "command"])
def test_every_name_is_in_the_readme(kind: str) -> None:
    for entry in registry().entries(kind):
        assert re.search(rf"`{entry.name}\b", README), f"the {kind} {entry.name} is not in README.md"


def test_the_formats_are_described() -> None:
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    for folder in re.findall(r"`(modalign/[\w/]+(?:\.py)?)`", README + contributing):
        assert (ROOT / folder).exists(), folder


def test_the_hook_shown_is_a_hook() -> None:
    assert modalign_register_objectives.__name__ in README


def test_the_make_targets_exist() -> None:
    targets = re.findall(r"^make (\w+)", README, re.MULTILINE)
    assert targets == ["demo", "test"]
    for target in targets:
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_the_library_example_runs(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(from lightning.*?)```", README, re.DOTALL)
    stand_ins("text/dpo", tiny_model, tmp_path)
    monkeypatch.chdir(tmp_path)
    changes = {
        'Text("Qwen/Qwen2.5-0.5B-Instruct")': f'Text("{tiny_model}", max_length=120)',
        '"my_pairs.jsonl", validation_rows=256': '"rows.jsonl", validation_rows=4',
        "Trainer(": "Trainer(accelerator='cpu', logger=False, enable_progress_bar=False, ",
    }
    for shown, tiny in changes.items():
        assert shown in code, f"README.md no longer shows {shown}"
        code = code.replace(shown, tiny)
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "aligned" / "model.safetensors").exists()
