"""Known reasons for an installation not to work, told from versions alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from modalign.plugins.registry import Registry

TORCHVISION_OF_TORCH_2 = 15
"""torchvision 0.(N + 15) is built against torch 2.N."""

_COMPROMISED = ("2.6.2", "2.6.3")


@dataclass(frozen=True)
class Finding:
    """Something that is wrong or worth knowing.

    Attributes:
        problem: What.
        cure: What to do.
        broken: Whether something cannot work.
    """

    problem: str
    cure: str
    broken: bool = True

    def __str__(self) -> str:
        return f"  {self.problem}\n    -> {self.cure}"


def requirement_findings(
    versions: Mapping[str, str], requirements: Sequence[str] | None = None, extras: Sequence[str] | None = None
) -> Iterator[Finding]:
    """Requirements of modalign that are not met.

    Args:
        versions: What is installed, by normalised name.
        requirements: As in package metadata; None for modalign's own.
        extras: Those whose absence is worth telling; None for modalign's own.
    """
    from packaging.requirements import Requirement

    missing: dict[str, list[str]] = {}
    for text in requirements if requirements is not None else metadata.requires("modalign") or []:
        requirement = Requirement(text)
        name, marker = normal(requirement.name), requirement.marker
        wanted = f"{requirement.name}{requirement.specifier}"
        required = marker is None or marker.evaluate({"extra": ""})
        if name in versions:
            if not requirement.specifier.contains(versions[name], prereleases=True):
                problem = f"{requirement.name} is {versions[name]}, and must be {requirement.specifier}"
                yield Finding(problem, f"pip install '{wanted}'")
        elif required:
            yield Finding(f"{requirement.name} is not installed", f"pip install '{wanted}'")
        elif marker is not None:
            for extra in extras if extras is not None else _own_extras():
                if marker.evaluate({"extra": extra}):
                    missing.setdefault(extra, []).append(requirement.name)
    for extra, names in missing.items():
        problem = f"the extra {extra} is not installed ({', '.join(names)} missing)"
        yield Finding(problem, f"pip install 'modalign[{extra}]' if you want it.", broken=False)


def known_mismatches(versions: Mapping[str, str]) -> Iterator[Finding]:
    """Combinations that are known to fail."""
    for package in ("lightning", "pytorch-lightning"):
        if versions.get(package) in _COMPROMISED:
            yield Finding(
                f"{package} {versions[package]} was published by an attacker",
                "pip install 'lightning>=2.6.6', and change every password and token that this machine could read.",
            )
    if _numbers(versions.get("jsonargparse", "4"))[0] >= 5:
        yield Finding("jsonargparse 5 lacks what Lightning's command line calls", "pip install 'jsonargparse<5'")
    if "torch" in versions:
        yield from _torch_family(versions)


def device_findings(torch: Mapping[str, Any], has_nvidia: bool) -> Iterator[Finding]:
    """Accelerators that are there and cannot be used.

    Args:
        torch: What `probe_torch` found.
        has_nvidia: Whether an NVIDIA driver is installed.
    """
    if not torch or not has_nvidia or torch["usable"]:
        return
    if torch["cuda"] is None:
        yield Finding(
            "there is an NVIDIA driver, and torch is built for the CPU only",
            "Install a CUDA build: https://pytorch.org/get-started/locally/",
        )
    else:
        yield Finding(
            f"torch is built for CUDA {torch['cuda']} and finds no usable GPU",
            "Compare with the CUDA version in nvidia-smi's first line; an older driver needs an older build of torch. "
            "Check CUDA_VISIBLE_DEVICES.",
        )


def network_findings(hub_answers: bool, offline: bool) -> Iterator[Finding]:
    """A hub that cannot be reached, where each look-up would wait for it."""
    if not hub_answers and not offline:
        yield Finding(
            "huggingface.co does not answer; every look-up there waits half a minute before it fails",
            "export HF_HUB_OFFLINE=1, and give models and data as local folders.",
            broken=False,
        )


def plugin_findings(registry: Registry) -> Iterator[Finding]:
    """Plugins that were set aside."""
    for failure in registry.failures:
        yield Finding(str(failure), f"Mend or remove it, or set MODALIGN_DISABLE_PLUGINS={failure.plugin.name}.")


def _torch_family(versions: Mapping[str, str]) -> Iterator[Finding]:
    torch = versions["torch"]
    major, minor = _numbers(torch)[:2]
    vision = versions.get("torchvision")
    if vision and major == 2 and _numbers(vision)[1] != minor + TORCHVISION_OF_TORCH_2:
        wanted = f"torchvision==0.{minor + TORCHVISION_OF_TORCH_2}.*"
        yield Finding(f"torchvision {vision} is not built for torch {torch}", f"pip install '{wanted}'")
    for package in ("torchvision", "torchaudio"):
        version = versions.get(package, "")
        if "+" in version and "+" in torch and version.split("+")[1] != torch.split("+")[1]:
            yield Finding(
                f"{package} {version} and torch {torch} are builds for different devices",
                "Install both from one index: https://pytorch.org/get-started/locally/",
            )


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split("+")[0].split(".")
    return tuple(int(part) if part.isdigit() else 0 for part in (*parts, "0", "0"))


def normal(name: str) -> str:
    """A distribution's name in the form in which names are compared."""
    return name.lower().replace("_", "-").replace(".", "-")


def _own_extras() -> list[str]:
    extras = metadata.metadata("modalign").get_all("Provides-Extra") or []
    return [extra for extra in extras if extra not in ("all", "dev")]
