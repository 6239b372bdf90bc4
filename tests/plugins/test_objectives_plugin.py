"""The built-in objectives come in by the public hook, without torch."""

import inspect
import re
import subprocess
import sys
from importlib import import_module

import pytest

from modalign.plugins.objectives import modalign_register_objectives

NAMES = ["sft", "dpo", "robust_dpo", "ipo", "hinge", "simpo", "orpo", "cpo", "mapo", "kto", "bco", "rankdpo"]
NAMES += ["lc_dpo", "mm_dpo", "dense_dpo", "rdpo_visual", "mdpo", "symmpo", "vdpo", "povid", "sum"]


def registered() -> dict[str, tuple[str, str]]:
    entries: dict[str, tuple[str, str]] = {}

    def register(name: str, target: str, *, summary: str = "", extra: str = "") -> None:
        assert name not in entries
        entries[name] = (target, summary)

    modalign_register_objectives(register)
    return entries


def load(name: str) -> type:
    module, _, attribute = registered()[name][0].partition(":")
    return getattr(import_module(module), attribute)


def test_registers_every_objective_with_a_summary() -> None:
    assert list(registered()) == NAMES
    assert all(summary for _, summary in registered().values())


@pytest.mark.parametrize("name", NAMES)
def test_target_is_a_concrete_objective(name: str) -> None:
    from modalign.core.objectives.base import Objective

    target = load(name)
    assert issubclass(target, Objective)
    assert not inspect.isabstract(target)


@pytest.mark.parametrize("name", NAMES)
def test_docstring_has_the_formula_and_every_option(name: str) -> None:
    target = load(name)
    doc = inspect.getdoc(target) or ""
    assert re.search(r"`L = ", doc)
    for option in list(inspect.signature(target).parameters):
        assert f"{option}: " in doc
    if name not in ("sft", "sum"):
        assert re.search(r"\d{4}\.\d{5}", doc)


def test_plugin_module_is_light() -> None:
    code = "import modalign.plugins.objectives, sys; print([m for m in ('torch', 'lightning') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
