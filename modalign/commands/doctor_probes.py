"""Looking at installed packages from outside: a broken one must not take the report down."""

import json
import socket
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from modalign.commands.doctor_checks import normal

PACKAGES = {
    "torch": "torch",
    "lightning": "lightning.pytorch",
    "jsonargparse": "jsonargparse",
    "pluggy": "pluggy",
    "datasets": "datasets",
    "safetensors": "safetensors.torch",
    "pyyaml": "yaml",
    "rich": "rich",
    "transformers": "transformers",
    "tokenizers": "tokenizers",
    "peft": "peft",
    "accelerate": "accelerate",
    "diffusers": "diffusers",
    "open-clip-torch": "open_clip",
    "torchvision": "torchvision",
    "torchaudio": "torchaudio",
}
"""Distributions that modalign uses, by normalised name, and what is imported of each."""

_TIMEOUT = 180
_DEVICES = """
import json, torch
devices = [f"cuda:{i}: {torch.cuda.get_device_name(i)}, {torch.cuda.get_device_properties(i).total_memory / 1e9:.0f} GB"
           for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
devices += ["mps"] if torch.backends.mps.is_available() else []
print(json.dumps({"cuda": torch.version.cuda or torch.version.hip, "usable": torch.cuda.is_available(),
                  "devices": devices}))
"""


@dataclass(frozen=True)
class Probe:
    """How importing a package went.

    Attributes:
        package: The distribution.
        problem: The last line of what it said, empty where it imports.
    """

    package: str
    problem: str = ""


def installed_versions() -> dict[str, str]:
    """Versions of all installed distributions, by normalised name."""
    return {normal(found.name): found.version for found in metadata.distributions() if found.name}


def hub_answers() -> bool:
    """Whether the Hugging Face hub can be reached."""
    try:
        with socket.create_connection(("huggingface.co", 443), timeout=3):
            return True
    except OSError:
        return False


def probe_import(package: str) -> Probe:
    """Import a package in a process of its own."""
    status, _, complaint = _python(f"import {PACKAGES[package]}")
    return Probe(package, "" if status == 0 else complaint)


def probe_torch() -> dict[str, Any]:
    """What torch says of devices: `cuda` (its build), `usable`, `devices`; empty where it does not import."""
    status, output, _ = _python(_DEVICES)
    found: dict[str, Any] = json.loads(output.splitlines()[-1]) if status == 0 else {}
    return found


def _python(code: str) -> tuple[int, str, str]:
    """Exit status, output, and the last line of complaint of a piece of code."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return 1, "", f"no answer within {_TIMEOUT} s"
    lines = done.stderr.strip().splitlines()
    return done.returncode, done.stdout, lines[-1] if lines else f"exit status {done.returncode}"
