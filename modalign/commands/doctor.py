"""`modalign doctor`: what is installed, whether it works together, and what to do where it does not."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from modalign import __version__
from modalign.commands.doctor_checks import (
    Finding,
    device_findings,
    known_mismatches,
    network_findings,
    plugin_findings,
    requirement_findings,
)
from modalign.commands.doctor_probes import (
    PACKAGES,
    Probe,
    hub_answers,
    installed_versions,
    probe_import,
    probe_torch,
)
from modalign.plugins.command_parser import CommandParser
from modalign.plugins.manager import registry

LOW_DISK_GB = 10.0


def main(argv: list[str]) -> int:
    """Print the report.

    Returns:
        1 if something is broken.
    """
    CommandParser("doctor", "Check versions, devices and known mismatches, and say what to do.").parse_args(argv)
    versions = installed_versions()
    print(f"modalign {__version__}, Python {platform.python_version()} ({sys.executable})")
    print(platform.platform())
    findings = [*requirement_findings(versions), *known_mismatches(versions), *plugin_findings(registry())]
    print("\npackages, each imported by itself")
    for probe in _probes(versions):
        print(f"  {probe.package:<16} {versions[probe.package]:<14} {probe.problem or 'ok'}", flush=True)
        if probe.problem:
            findings.append(Finding(f"{probe.package} cannot be imported: {probe.problem}", _reinstall(probe.package)))
    print("\ndevices")
    torch = probe_torch() if "torch" in versions else {}
    for line in _device_lines(torch):
        print(f"  {line}")
    findings += device_findings(torch, has_nvidia=_has_nvidia())
    print("\nmemory and disk")
    print(f"  memory: {_memory_gb():.1f} GB")
    for name, folder in _folders():
        free = _free_gb(folder)
        print(f"  {name}: {folder}, {free:.1f} GB free")
        if free < LOW_DISK_GB:
            findings.append(Finding(f"{name} has {free:.1f} GB left", f"Free space in {folder}.", broken=False))
    print("\nenvironment")
    for name in ("HF_HUB_OFFLINE", "HF_HOME", "MODALIGN_CACHE", "MODALIGN_DISABLE_PLUGINS", "CUDA_VISIBLE_DEVICES"):
        print(f"  {name}={os.environ.get(name, '(not set)')}")
    offline = os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0")
    findings += network_findings(offline or hub_answers(), offline)
    return _verdict(findings)


def _probes(versions: dict[str, str]) -> Iterator[Probe]:
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield from pool.map(probe_import, [package for package in PACKAGES if package in versions])


def _verdict(findings: list[Finding]) -> int:
    broken = [finding for finding in findings if finding.broken]
    notes = [finding for finding in findings if not finding.broken]
    if notes:
        print("\nworth knowing")
        print("\n".join(str(finding) for finding in notes))
    if not broken:
        print("\nall is well")
        return 0
    print("\nbroken")
    print("\n".join(str(finding) for finding in broken))
    return 1


def _device_lines(torch: dict[str, object]) -> list[str]:
    if not torch:
        return ["(torch does not import)"]
    devices = torch.get("devices")
    names = [str(name) for name in devices] if isinstance(devices, list) else []
    return [f"cpu: {os.cpu_count()} cores", *names, f"torch is built for {torch.get('cuda') or 'the CPU'}"]


def _has_nvidia() -> bool:
    return shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia/version").exists()


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _folders() -> list[tuple[str, Path]]:
    cache = Path.home() / ".cache"
    return [
        ("models and data", Path(os.environ.get("HF_HOME") or cache / "huggingface")),
        ("cached references", Path(os.environ.get("MODALIGN_CACHE") or cache / "modalign")),
        ("temporary files", Path(tempfile.gettempdir())),
        ("this folder", Path.cwd()),
    ]


def _free_gb(folder: Path) -> float:
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return shutil.disk_usage(there).free / 1e9


def _reinstall(package: str) -> str:
    return f"pip install --force-reinstall --no-deps '{package}'; if that does not help, make a new environment."
