"""Finding plugins and asking them what they add, so that a broken one is named and leaves the rest working.

pluggy alone is silent about a misspelt hook, a forgotten `@hookimpl` and a name registered twice, and stops the program
at the first plugin that fails to import. `discover` closes these gaps: each mistake becomes a `Failure`.

Environment:
    MODALIGN_DISABLE_PLUGINS: Entry-point names to leave out, separated by commas.
    MODALIGN_STRICT_PLUGINS: If 1, a plugin's mistake raises, with the plugin in the exception's notes.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache, partial
from importlib import metadata
from inspect import isroutine
from typing import Any

import pluggy

from modalign.core.errors import UserError, did_you_mean
from modalign.plugins import hookspecs
from modalign.plugins.registry import KINDS, Entry, Failure, Kind, Plugin, Registry
from modalign.plugins.targets import strict_plugins

GROUP = "modalign"
_HOOKS = tuple(kind.hook for kind in KINDS.values())
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@cache
def registry() -> Registry:
    """What the installed plugins add; on the first call each failure is told in a line on stderr."""
    found = discover()
    if os.environ.get("LOCAL_RANK", "0") == "0":
        for failure in found.failures:
            print(f"modalign: {failure}", file=sys.stderr)
    return found


def discover(extra: Mapping[str, object] | None = None) -> Registry:
    """Load every plugin and collect what it registers.

    Built-in plugins come first, then the others by name, so that the same plugin keeps a contested name on every
    machine.

    Args:
        extra: Plugins that no distribution announces, by name.

    Raises:
        Exception: A plugin is broken and `MODALIGN_STRICT_PLUGINS` is set.
    """
    discovery = _Discovery()
    for point in _entry_points():
        discovery.load(_owner(point), point.load)
    for name, plugin in (extra or {}).items():
        discovery.load(Plugin(name), partial(_identity, plugin))
    return discovery.finish()


def _identity(plugin: object) -> object:
    return plugin


def _entry_points() -> list[metadata.EntryPoint]:
    points = metadata.entry_points(group=GROUP)
    return sorted(points, key=lambda point: (_owner(point).distribution != "modalign", point.name, str(_owner(point))))


def _owner(point: metadata.EntryPoint) -> Plugin:
    if point.dist is None:
        return Plugin(point.name)
    return Plugin(point.name, point.dist.name, point.dist.version)


def _disabled_names() -> list[str]:
    names = os.environ.get("MODALIGN_DISABLE_PLUGINS", "").split(",")
    return [name.strip() for name in names if name.strip()]


class _Discovery:
    """The state of one pass over the plugins."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager("modalign")
        self.manager.add_hookspecs(hookspecs)
        self.blocked = _disabled_names()
        self.plugins: list[Plugin] = []
        self.disabled: list[Plugin] = []
        self.failures: list[Failure] = []
        self.entries: dict[tuple[str, str], Entry] = {}

    def load(self, plugin: Plugin, load: Callable[[], object]) -> None:
        """Import a plugin and let it register, or note why it cannot."""
        if plugin.name in self.blocked:
            self.disabled.append(plugin)
            return
        first = next((other for other in self.plugins if other.name == plugin.name), None)
        if first is not None:
            self.fail(plugin, f"its name is taken by {first}; it was left out")
            return
        try:
            loaded = load()
            self.manager.register(loaded, plugin.name)
        except (Exception, SystemExit) as error:  # a plugin may raise anything; it is reported under its name
            if self.manager.has_plugin(plugin.name):
                self.manager.unregister(name=plugin.name)
            self.fail(plugin, f"cannot be loaded: {type(error).__name__}: {error}", error)
            return
        self.plugins.append(plugin)
        self.check_hooks(plugin, loaded)
        for kind in KINDS.values():
            self.call(plugin, kind)

    def check_hooks(self, plugin: Plugin, loaded: object) -> None:
        """Note the hooks that pluggy would silently never call."""
        callers = self.manager.get_hookcallers(loaded) or []
        for caller in callers:
            if not caller.has_spec():
                self.fail(plugin, f"there is no hook {caller.name!r}; {did_you_mean(caller.name, _HOOKS)}")
        implemented = {caller.name for caller in callers}
        unmarked = [name for name in _hook_like(loaded) if name not in implemented]
        for name in unmarked:
            self.fail(plugin, f"{name} is not marked with @modalign.hookimpl, so it is never called")
        if not callers and not unmarked:
            self.fail(plugin, f"implements no hook; known: {', '.join(_HOOKS)}")

    def call(self, plugin: Plugin, kind: Kind) -> None:
        """Let one plugin register its things of one kind."""
        for hook in getattr(self.manager.hook, kind.hook).get_hookimpls():
            if hook.plugin_name != plugin.name:
                continue
            try:
                returned = hook.function(*[self.register(plugin, kind) for _ in hook.argnames])
            except (Exception, SystemExit) as error:  # as above
                self.fail(plugin, f"{kind.hook} raised {type(error).__name__}: {error}", error)
                continue
            if returned is not None:
                self.fail(plugin, f"{kind.hook} returned {returned!r}; it must call register(name, target) instead")

    def register(self, plugin: Plugin, kind: Kind) -> hookspecs.Register:
        """The function that a hook is handed."""

        def register(name: str, target: str, *, summary: str = "", extra: str = "") -> None:
            problem = _problem(name, target, summary, extra)
            taken = None if problem else self.entries.get((kind.name, name))
            if taken is not None:
                problem = f"the name is taken by {taken.plugin}, which keeps it"
            if problem:
                self.fail(plugin, f"{kind.name} {name!r}: {problem}")
            else:
                self.entries[kind.name, name] = Entry(kind.name, name, target, plugin, summary, extra)

        return register

    def fail(self, plugin: Plugin, error: str, cause: BaseException | None = None) -> None:
        failure = Failure(plugin, " ".join(error.split()))
        if not strict_plugins():
            self.failures.append(failure)
        elif isinstance(cause, Exception):
            cause.add_note(str(failure))
            raise cause
        else:
            raise UserError(str(failure)) from cause

    def finish(self) -> Registry:
        known = [plugin.name for plugin in (*self.plugins, *self.disabled)]
        for name in self.blocked:
            if name not in known:
                self.fail(Plugin(name), f"MODALIGN_DISABLE_PLUGINS names it, but {did_you_mean(name, known)}")
        return Registry(self.plugins, self.entries.values(), self.failures, self.disabled)


def _problem(name: object, target: object, summary: object, extra: object) -> str | None:
    """Why an entry cannot be registered, or None."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return "a name is lower-case letters, digits and underscores, and starts with a letter"
    if not isinstance(target, str) or not _TARGET.fullmatch(target):
        return f"a target is a string like 'package.module:Class', not {target!r}"
    for argument, value in (("summary", summary), ("extra", extra)):
        if not isinstance(value, str):
            return f"{argument} is a string, not {value!r}"
    return None


def _hook_like(plugin: object) -> Iterator[str]:
    """Names of a plugin's own functions that look as if they were meant to be hooks."""
    for name, value in _attributes(plugin):
        home = getattr(value, "__module__", None)
        if not isroutine(value) or home != getattr(plugin, "__name__", getattr(plugin, "__module__", None)):
            continue
        if name.startswith("modalign_register") or get_close_matches(name, _HOOKS, n=1, cutoff=0.85):
            yield name


def _attributes(plugin: object) -> Iterator[tuple[str, Any]]:
    for name in dir(plugin):
        if not name.startswith("_"):
            yield name, getattr(plugin, name, None)
