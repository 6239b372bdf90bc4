"""The hooks a plugin may implement.

Each hook is handed a `register` function and calls it once for everything it adds:

    from modalign import hookimpl

    @hookimpl
    def modalign_register_objectives(register):
        register("my_loss", "my_package.losses:MyLoss", summary="what it is, in a line")

The target is a string, so that nothing is imported before it is used: keep the plugin's own module light (no torch, no
transformers at its top). A name that another plugin has taken is refused, naming both. Announce the plugin's module
under the entry-point group `modalign`:

    [project.entry-points.modalign]
    my-plugin = "my_package.plugin"
"""

from typing import Protocol

import pluggy

hookspec = pluggy.HookspecMarker("modalign")
hookimpl = pluggy.HookimplMarker("modalign")


class Register(Protocol):
    """Adds one thing under a short name."""

    def __call__(self, name: str, target: str, *, summary: str = "", extra: str = "") -> None:
        """Register `target` as `name`.

        Args:
            name: How users write it in a config: lower case, digits and underscores.
            target: `package.module:Class`, imported on first use.
            summary: One line for `modalign plugins`.
            extra: The pip extra that `target` needs, named when its import fails.
        """


@hookspec
def modalign_register_modalities(register: Register) -> None:
    """Add modalities: subclasses of `modalign.Modality`."""


@hookspec
def modalign_register_objectives(register: Register) -> None:
    """Add objectives: subclasses of `modalign.Objective`."""


@hookspec
def modalign_register_references(register: Register) -> None:
    """Add sources of reference likelihoods: subclasses of `modalign.Reference`."""


@hookspec
def modalign_register_rewards(register: Register) -> None:
    """Add rewards: subclasses of `modalign.Reward`."""


@hookspec
def modalign_register_samplers(register: Register) -> None:
    """Add samplers: subclasses of `modalign.Sampler`."""


@hookspec
def modalign_register_formats(register: Register) -> None:
    """Add data formats: subclasses of `modalign.Format`."""


@hookspec
def modalign_register_families(register: Register) -> None:
    """Add families of diffusion models: subclasses of `modalign.modalities.diffusion.family.DiffusionFamily`."""


@hookspec
def modalign_register_token_families(register: Register) -> None:
    """Add families of language models of codec tokens: subclasses of
    `modalign.modalities.audio.tokens.family.TokenFamily`."""


@hookspec
def modalign_register_image_variants(register: Register) -> None:
    """Add other images to judge a response under: subclasses of
    `modalign.modalities.vision_language.variants.base.ImageVariant`."""


@hookspec
def modalign_register_audio_variants(register: Register) -> None:
    """Add other sounds to judge a response under: subclasses of
    `modalign.modalities.audio.variants.base.AudioVariant`."""


@hookspec
def modalign_register_tasks(register: Register) -> None:
    """Add evaluation tasks for `modalign eval`: subclasses of `modalign.core.task.Task`, which asks policies, or of
    `FileTask` there, which looks at files."""


@hookspec
def modalign_register_commands(register: Register) -> None:
    """Add commands beside `fit`: functions `(argv: list[str]) -> int | None` that parse their own arguments."""
