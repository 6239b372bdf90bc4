"""Known mismatches are told from versions alone, and a broken package does not take the report down."""

from pathlib import Path
from typing import Any

import pytest

from modalign.commands import doctor, doctor_probes
from modalign.commands.doctor_checks import (
    Finding,
    device_findings,
    known_mismatches,
    network_findings,
    plugin_findings,
    requirement_findings,
)
from modalign.commands.doctor_probes import Probe, installed_versions, probe_import
from modalign.plugins.registry import Failure, Plugin, Registry
from tests.cli.conftest import Run

GOOD = {
    "torch": "2.12.1",
    "torchvision": "0.27.1",
    "torchaudio": "2.11.0",
    "lightning": "2.6.6",
    "jsonargparse": "4.53.0",
}


def test_this_installation_is_well() -> None:
    versions = installed_versions()
    assert [f for f in requirement_findings(versions) if f.broken] == []
    assert list(known_mismatches(versions)) == []


@pytest.mark.parametrize(
    ("changed", "problem", "cure"),
    [
        ({"torchvision": "0.26.0"}, "torchvision 0.26.0 is not built for torch 2.12.1", "torchvision==0.27"),
        ({"torch": "2.11.0+cu126"}, "torchvision 0.27.1 is not built for torch 2.11.0+cu126", "torchvision==0.26"),
        ({"torch": "2.12.1+cu130", "torchvision": "0.27.1+cpu"}, "builds for different devices", "one index"),
        ({"torch": "2.12.1+cu130", "torchaudio": "2.12.0+cu126"}, "torchaudio 2.12.0+cu126", "one index"),
        ({"lightning": "2.6.2"}, "published by an attacker", "lightning>=2.6.6"),
        ({"pytorch-lightning": "2.6.3"}, "pytorch-lightning 2.6.3 was published by an attacker", "change every"),
        ({"jsonargparse": "5.0.1"}, "jsonargparse 5", "jsonargparse<5"),
    ],
)
def test_known_mismatches(changed: dict[str, str], problem: str, cure: str) -> None:
    assert list(known_mismatches(GOOD)) == []
    (finding,) = known_mismatches({**GOOD, **changed})
    assert finding.broken
    assert problem in finding.problem
    assert cure in finding.cure


def test_requirements() -> None:
    requirements = [
        "torch<2.13,>=2.11",
        "pluggy>=1.5",
        'peft>=0.18; extra == "text"',
        'diffusers>=0.36; extra == "image"',
        'diffusers>=0.36; extra == "audio"',
        'tomli; python_version < "3"',
    ]
    versions = {"torch": "2.10.0", "peft": "0.17.0"}
    found = {f.problem: f for f in requirement_findings(versions, requirements, ["text", "image", "audio"])}
    assert {problem: finding.broken for problem, finding in found.items()} == {
        "torch is 2.10.0, and must be <2.13,>=2.11": True,
        "pluggy is not installed": True,
        "peft is 0.17.0, and must be >=0.18": True,
        "the extra image is not installed (diffusers missing)": False,
        "the extra audio is not installed (diffusers missing)": False,
    }
    assert found["pluggy is not installed"].cure == "pip install 'pluggy>=1.5'"


@pytest.mark.parametrize(
    ("torch", "has_nvidia", "problem"),
    [
        ({"cuda": None, "usable": False}, True, "built for the CPU only"),
        ({"cuda": "13.0", "usable": False}, True, "built for CUDA 13.0 and finds no usable GPU"),
        ({"cuda": "13.0", "usable": True}, True, None),
        ({"cuda": None, "usable": False}, False, None),
        ({}, True, None),
    ],
)
def test_devices(torch: dict[str, Any], has_nvidia: bool, problem: str | None) -> None:
    found = list(device_findings(torch, has_nvidia))
    assert len(found) == (problem is not None)
    if problem:
        assert problem in found[0].problem


def test_an_unreachable_hub_is_told_unless_offline() -> None:
    assert list(network_findings(hub_answers=True, offline=False)) == []
    assert list(network_findings(hub_answers=False, offline=True)) == []
    (finding,) = network_findings(hub_answers=False, offline=False)
    assert not finding.broken
    assert "HF_HUB_OFFLINE=1" in finding.cure


def test_a_broken_plugin_is_told_with_the_switch() -> None:
    (finding,) = plugin_findings(Registry(failures=[Failure(Plugin("bad", "bad-package", "1.0"), "no")]))
    assert "MODALIGN_DISABLE_PLUGINS=bad" in finding.cure


def test_a_package_that_does_not_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rotten.py").write_text("raise OSError('undefined symbol: _ZN3c10')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setitem(doctor_probes.PACKAGES, "rotten", "rotten")
    assert probe_import("rotten") == Probe("rotten", "OSError: undefined symbol: _ZN3c10")
    assert probe_import("pluggy") == Probe("pluggy", "")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A doctor that imports nothing."""
    monkeypatch.setattr(doctor, "probe_import", Probe)
    monkeypatch.setattr(doctor, "probe_torch", lambda: {"cuda": None, "usable": False, "devices": ["gpu of a test"]})
    monkeypatch.setattr(doctor, "_has_nvidia", lambda: False)
    monkeypatch.setattr(doctor, "_free_gb", lambda folder: 500.0)


@pytest.mark.usefixtures("quick")
def test_the_report_of_a_healthy_machine(run: Run) -> None:
    ran = run("doctor")
    assert ran.status == 0, ran.out
    for text in ("Python 3.", "torch", "gpu of a test", "memory: ", "GB free", "HF_HUB_OFFLINE=1", "all is well"):
        assert text in ran.out


@pytest.mark.usefixtures("quick")
def test_the_report_of_a_broken_machine(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_peft(package: str) -> Probe:
        return Probe(package, "RuntimeError: operator does not exist" if package == "peft" else "")

    monkeypatch.setattr(doctor, "probe_import", broken_peft)
    monkeypatch.setattr(doctor, "_free_gb", lambda folder: 0.5)
    monkeypatch.setattr(doctor, "known_mismatches", lambda versions: [Finding("torchvision is odd", "install another")])
    ran = run("doctor")
    assert ran.status == 1
    broken = ran.out.split("\nbroken\n")[1]
    assert "peft cannot be imported: RuntimeError: operator does not exist" in broken
    assert "torchvision is odd\n    -> install another" in broken
    assert "0.5 GB left" in ran.out.split("worth knowing")[1].split("\nbroken\n")[0]
