"""What the plugins registered, looked up by kind and short name.

Nothing is imported before it is used: an entry holds a target string until `Registry.load` is asked for it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from modalign.core.errors import UserError, did_you_mean
from modalign.plugins.targets import import_target


@dataclass(frozen=True)
class Kind:
    """A sort of thing that plugins add.

    Attributes:
        name: How messages and look-ups call it.
        hook: The hook that registers it.
        base: `package.module:Class` that its classes extend; empty for commands, which are functions.
    """

    name: str
    hook: str
    base: str = ""


KINDS = {
    kind.name: kind
    for kind in (
        Kind("modality", "modalign_register_modalities", "modalign.core.modality:Modality"),
        Kind("objective", "modalign_register_objectives", "modalign.core.objectives.base:Objective"),
        Kind("reference", "modalign_register_references", "modalign.core.reference:Reference"),
        Kind("reward", "modalign_register_rewards", "modalign.core.reward:Reward"),
        Kind("sampler", "modalign_register_samplers", "modalign.core.sampler:Sampler"),
        Kind("format", "modalign_register_formats", "modalign.core.format:Format"),
        Kind("family", "modalign_register_families", "modalign.modalities.diffusion.family:DiffusionFamily"),
        Kind(
            "token_family",
            "modalign_register_token_families",
            "modalign.modalities.audio.tokens.family:TokenFamily",
        ),
        Kind(
            "image_variant",
            "modalign_register_image_variants",
            "modalign.modalities.vision_language.variants.base:ImageVariant",
        ),
        Kind(
            "audio_variant", "modalign_register_audio_variants", "modalign.modalities.audio.variants.base:AudioVariant"
        ),
        Kind("task", "modalign_register_tasks", "modalign.core.task:Measurement"),
        Kind("command", "modalign_register_commands"),
    )
}


@dataclass(frozen=True)
class Plugin:
    """Where something came from.

    Attributes:
        name: The entry point's name.
        distribution: The installed package that announces it.
        version: That package's version.
    """

    name: str
    distribution: str = ""
    version: str = ""

    def __str__(self) -> str:
        package = f"{self.distribution} {self.version}".strip()
        return f"plugin {self.name!r} ({package})" if package else f"plugin {self.name!r}"


@dataclass(frozen=True)
class Entry:
    """One registered name.

    Attributes:
        kind: One of `KINDS`.
        name: The short name in configs.
        target: `package.module:Class` (or `:function` for a command).
        plugin: Who registered it.
        summary: One line about it.
        extra: The pip extra of the plugin's distribution that the target needs.
    """

    kind: str
    name: str
    target: str
    plugin: Plugin
    summary: str = ""
    extra: str = ""


@dataclass(frozen=True)
class Failure:
    """A mistake in a plugin that was set aside, so that the rest works.

    Attributes:
        plugin: Whose mistake it is.
        error: What is wrong, in one line.
    """

    plugin: Plugin
    error: str

    def __str__(self) -> str:
        return f"{self.plugin}: {self.error}"


class Registry:
    """Everything that installed plugins add.

    Args:
        plugins: Those that were loaded, in the order in which they came.
        entries: What they registered; names are unique within a kind.
        failures: What was set aside.
        disabled: Those that `MODALIGN_DISABLE_PLUGINS` blocked.
    """

    def __init__(
        self,
        plugins: Sequence[Plugin] = (),
        entries: Iterable[Entry] = (),
        failures: Sequence[Failure] = (),
        disabled: Sequence[Plugin] = (),
    ) -> None:
        self.plugins = tuple(plugins)
        self.failures = tuple(failures)
        self.disabled = tuple(disabled)
        self._entries: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
        for entry in entries:
            self._entries[entry.kind][entry.name] = entry

    def entries(self, kind: str) -> tuple[Entry, ...]:
        """All entries of a kind, in the order in which they were registered."""
        return tuple(self._entries[kind].values())

    def names(self, kind: str) -> tuple[str, ...]:
        """All short names of a kind, sorted."""
        return tuple(sorted(self._entries[kind]))

    def entry(self, kind: str, name: str) -> Entry:
        """The entry that is registered under this name.

        Raises:
            UserError: There is none; the message offers the nearest names.
        """
        if name in self._entries[kind]:
            return self._entries[kind][name]
        raise UserError(f"no {kind} is called {name!r}; {did_you_mean(name, self.names(kind))}", self._absent_plugins())

    def load(self, kind: str, name: str) -> Any:
        """Import what is registered under this name: a class of the kind's base, or a command's function.

        Raises:
            UserError: The name is unknown, the import fails, or the target is not what its kind asks for; the message
                names the plugin and what to install.
        """
        return import_target(self.entry(kind, name), KINDS[kind].base)

    def _absent_plugins(self) -> str:
        notes = []
        if self.failures:
            broken = dict.fromkeys(failure.plugin for failure in self.failures)
            notes.append(f"broken here, so perhaps it was theirs: {', '.join(map(str, broken))}")
        if self.disabled:
            notes.append(f"blocked by MODALIGN_DISABLE_PLUGINS: {', '.join(plugin.name for plugin in self.disabled)}")
        return "; ".join(notes)
