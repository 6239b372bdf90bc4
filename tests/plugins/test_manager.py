"""Each of pluggy's silent gaps is closed: the mistake is named, and the rest keeps working."""

import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace

import pytest

from modalign import hookimpl
from modalign.core.errors import UserError
from modalign.core.objectives.base import Objective
from modalign.plugins import manager
from modalign.plugins.hookspecs import Register
from modalign.plugins.manager import discover
from modalign.plugins.registry import KINDS, Registry

GOOD = """
    from modalign import hookimpl

    @hookimpl
    def modalign_register_rewards(register):
        register("good", "good_plugin:Good", summary="fine")
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Announce a module as a plugin, the way an installed distribution does."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(name: str, source: str, module: str = "", distribution: str = "", version: str = "1.2") -> None:
        module = module or name.replace("-", "_") + "_plugin"
        (tmp_path / f"{module}.py").write_text(dedent(source))
        info = tmp_path / f"{distribution or name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution or name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[modalign]\n{name} = {module}\n")
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


def found(*plugins: str) -> Registry:
    """Discovery, without the failures of plugins that are not this test's."""
    registry = discover()
    mine = [failure for failure in registry.failures if failure.plugin.name in plugins]
    return Registry(registry.plugins, [e for k in KINDS for e in registry.entries(k)], mine, registry.disabled)


def failures(registry: Registry) -> list[str]:
    return [str(failure) for failure in registry.failures]


def test_a_good_plugin_is_registered_with_its_distribution_and_version(install: Install) -> None:
    install("good", GOOD, version="3.4")
    registry = found("good")
    entry = registry.entry("reward", "good")
    assert (entry.target, entry.summary) == ("good_plugin:Good", "fine")
    assert (entry.plugin.name, entry.plugin.distribution, entry.plugin.version) == ("good", "good", "3.4")
    assert not registry.failures


BROKEN = {
    "no_such_dependency": ("import a_module_that_is_not_there", "ModuleNotFoundError", "a_module_that_is_not_there"),
    "raises_on_import": ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
    "exits_on_import": ("import sys; sys.exit('bye')", "SystemExit: bye"),
    "syntax_error": ("def :", "SyntaxError"),
    "misspelt_hook": (
        """
        from modalign import hookimpl
        @hookimpl
        def modalign_register_reward(register): ...
        """,
        "there is no hook 'modalign_register_reward'; did you mean 'modalign_register_rewards'",
    ),
    "misspelt_prefix": (
        """
        from modalign import hookimpl
        @hookimpl
        def modalgin_register_rewards(register): ...
        """,
        "there is no hook 'modalgin_register_rewards'; did you mean 'modalign_register_rewards'",
    ),
    "forgotten_hookimpl": (
        "def modalign_register_rewards(register): ...",
        "modalign_register_rewards is not marked with @modalign.hookimpl",
    ),
    "no_hooks": ("x = 1", "implements no hook"),
    "extra_argument": (
        """
        from modalign import hookimpl
        @hookimpl
        def modalign_register_rewards(register, version): ...
        """,
        "PluginValidationError",
        "version",
    ),
    "hook_raises": (
        """
        from modalign import hookimpl
        @hookimpl
        def modalign_register_rewards(register):
            raise ValueError("no luck")
        """,
        "modalign_register_rewards raised ValueError: no luck",
    ),
    "returns_a_list": (
        """
        from modalign import hookimpl
        @hookimpl
        def modalign_register_rewards(register):
            return [("mine", "a.b:C")]
        """,
        "must call register(name, target) instead",
    ),
    "name_of_a_wrong_type": (
        """
        from modalign import hookimpl
        @hookimpl
        def modalign_register_rewards(register):
            register(3, "a.b:C")
        """,
        "reward 3: a name is lower-case",
    ),
    "bad_name": (
        """
        from modalign import hookimpl
        @hookimpl
        def modalign_register_rewards(register):
            register("My-Reward", "a.b:C")
        """,
        "reward 'My-Reward': a name is lower-case",
    ),
    "class_in_place_of_a_target": (
        """
        from modalign import hookimpl
        @hookimpl
        def modalign_register_rewards(register):
            register("mine", dict)
        """,
        "reward 'mine': a target is a string like 'package.module:Class', not <class 'dict'>",
    ),
    "target_without_colon": (
        """
        from modalign import hookimpl
        @hookimpl
        def modalign_register_rewards(register):
            register("mine", "a.b.C")
        """,
        "a target is a string like 'package.module:Class', not 'a.b.C'",
    ),
    "summary_of_a_wrong_type": (
        """
        from modalign import hookimpl
        @hookimpl
        def modalign_register_rewards(register):
            register("mine", "a.b:C", summary=None)
        """,
        "summary is a string, not None",
    ),
    "unknown_argument": (
        """
        from modalign import hookimpl
        @hookimpl
        def modalign_register_rewards(register):
            register("mine", "a.b:C", licence="MIT")
        """,
        "raised TypeError",
        "licence",
    ),
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_broken_plugin_is_named_once_and_leaves_the_rest_working(install: Install, mistake: str) -> None:
    source, *expected = BROKEN[mistake]
    install("good", GOOD)
    install("zbroken", source, distribution="broken-package", version="0.7")
    registry = found("good", "zbroken")
    assert registry.names("reward").count("good") == 1
    (failure,) = failures(registry)
    assert failure.startswith("plugin 'zbroken' (broken-package 0.7): ")
    assert "\n" not in failure
    for text in expected:
        assert text in failure


def test_a_plugin_keeps_what_it_registered_before_and_after_a_mistake(install: Install) -> None:
    install(
        "partly",
        """
        from modalign import hookimpl
        @hookimpl
        def modalign_register_rewards(register):
            register("first", "a.b:C")
            register("BAD", "a.b:C")
            register("last", "a.b:C")
        """,
    )
    registry = found("partly")
    assert {"first", "last"} <= set(registry.names("reward"))
    assert len(registry.failures) == 1


def test_the_second_owner_of_a_name_is_refused_and_both_are_named(install: Install) -> None:
    install("good", GOOD)
    install("zlate", GOOD.replace("good_plugin:Good", "late:Late"), distribution="late-package")
    registry = found("good", "zlate")
    assert registry.entry("reward", "good").plugin.name == "good"
    assert failures(registry) == [
        "plugin 'zlate' (late-package 1.2): reward 'good': the name is taken by plugin 'good' (good 1.2), "
        "which keeps it"
    ]


def test_a_builtin_keeps_its_name_against_an_earlier_letter(install: Install) -> None:
    install("aaa", GOOD.replace("rewards", "commands").replace('"good"', '"fit"'))
    registry = found("aaa")
    assert registry.entry("command", "fit").plugin.distribution == "modalign"
    assert len(registry.failures) == 1


def test_two_plugins_of_one_name(install: Install) -> None:
    install("good", GOOD)
    install("good", GOOD, module="other_plugin", distribution="other-package")
    registry = found("good")
    assert registry.entry("reward", "good").plugin.distribution == "good"
    assert failures(registry) == [
        "plugin 'good' (other-package 1.2): its name is taken by plugin 'good' (good 1.2); it was left out"
    ]


def test_disabled_plugins_are_not_imported(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("good", GOOD)
    install("zbroken", "raise RuntimeError")
    monkeypatch.setenv("MODALIGN_DISABLE_PLUGINS", "zbroken, nothing")
    registry = found("good", "zbroken", "nothing")
    assert [plugin.name for plugin in registry.disabled] == ["zbroken"]
    assert "good" in registry.names("reward")
    (failure,) = failures(registry)
    assert failure.startswith("plugin 'nothing': MODALIGN_DISABLE_PLUGINS names it, but")


@pytest.mark.parametrize("mistake", ["raises_on_import", "misspelt_hook", "hook_raises", "bad_name"])
def test_strict_mode_raises(install: Install, monkeypatch: pytest.MonkeyPatch, mistake: str) -> None:
    install("zbroken", BROKEN[mistake][0])
    others = ",".join(point.name for point in manager._entry_points() if point.name != "zbroken")
    monkeypatch.setenv("MODALIGN_DISABLE_PLUGINS", others)
    monkeypatch.setenv("MODALIGN_STRICT_PLUGINS", "1")
    with pytest.raises((UserError, RuntimeError, ValueError)) as caught:
        discover()
    assert "plugin 'zbroken'" in "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])


def test_failures_are_told_once(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install("zbroken", "raise RuntimeError('no')")
    monkeypatch.setattr(manager, "registry", manager.registry.__wrapped__)
    manager.registry()
    lines = [line for line in capsys.readouterr().err.splitlines() if "zbroken" in line]
    assert lines == ["modalign: plugin 'zbroken' (zbroken 1.2): cannot be loaded: RuntimeError: no"]


def plugin_with(name: str, target: str, kind: str = "objective", extra: str = "") -> SimpleNamespace:
    @hookimpl(specname=KINDS[kind].hook)
    def add(register: Register) -> None:
        register(name, target, extra=extra)

    return SimpleNamespace(add=add)


class Unfinished(Objective):
    """No forward."""


class NotAnObjective:
    """Of no kind."""


def load(name: str, target: str, kind: str = "objective", extra: str = "") -> object:
    return discover({"mine": plugin_with(name, target, kind, extra)}).load(kind, name)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("a_missing_package.losses:Loss", "announces a_missing_package.losses:Loss, but there is no such module"),
        (f"{__name__}:Nothing", "points to .*:Nothing, which does not exist"),
        (f"{__name__}:NotAnObjective", "must be a subclass of modalign.core.objectives.base.Objective"),
        (f"{__name__}:Unfinished", "does not implement forward"),
    ],
)
def test_a_target_that_cannot_be_used_names_the_plugin(target: str, expected: str) -> None:
    with pytest.raises(UserError, match="the objective 'broken_target' of plugin 'mine'") as caught:
        load("broken_target", target)
    assert caught.match(expected)


def test_a_class_under_another_name_is_refused() -> None:
    with pytest.raises(UserError, match="calls itself 'length'"):
        load("longer", "modalign.plugins.rewards.length:Length", "reward")


def test_a_missing_dependency_names_the_extra(install: Install) -> None:
    install(
        "needy",
        """
        from modalign import hookimpl
        @hookimpl
        def modalign_register_objectives(register):
            register("needy", "needy_losses:Loss", extra="heavy")
        """,
        distribution="needy-package",
    )
    Path(sys.path[0], "needy_losses.py").write_text("import a_module_that_is_not_there")
    with pytest.raises(UserError, match="a_module_that_is_not_there") as caught:
        found("needy").load("objective", "needy")
    assert caught.value.cure == "pip install 'needy-package[heavy]'"


def test_an_unknown_name_offers_the_nearest() -> None:
    registry = discover({"mine": plugin_with("tilted", "a.b:C")})
    with pytest.raises(UserError, match="no objective is called 'titled'; did you mean 'tilted'"):
        registry.load("objective", "titled")


def test_an_unknown_name_mentions_the_plugins_that_are_missing(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("good", GOOD)
    install("zbroken", "raise RuntimeError")
    monkeypatch.setenv("MODALIGN_DISABLE_PLUGINS", "good")
    with pytest.raises(UserError) as caught:
        found("zbroken").load("reward", "good")
    assert "plugin 'zbroken'" in caught.value.cure
    assert "MODALIGN_DISABLE_PLUGINS: good" in caught.value.cure


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "command"])
def test_every_builtin_loads_under_its_name(kind: str) -> None:
    registry = manager.registry()
    assert not [failure for failure in registry.failures if failure.plugin.distribution == "modalign"]
    assert [registry.load(kind, name) for name in registry.names(kind)]
