"""The disk caches of latents and of prompt encodings."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from modalign.core.content import content_hash
from modalign.core.errors import ConfigError
from modalign.modalities.diffusion.encoder_identity import remembered_identity
from modalign.modalities.diffusion.family import DiffusionFamily
from modalign.modalities.diffusion.fingerprint import parts_hash, text_part_names
from modalign.modalities.diffusion.frozen_outputs import RECORD_VERSION, CacheOptions, Record
from modalign.modalities.diffusion.loading import LIBRARIES, PipelineSource
from modalign.modalities.diffusion.own_pipelines import INDEX
from modalign.modalities.diffusion.tensor_store import TensorStore


class FrozenCache:
    """Records by content.

    Args:
        folder: Holds a folder each for every encoder and setting.
        latents: What, beside a medium, decides its latents; None where media are not encoded.
        text: What, beside a prompt, decides its encodings.
        flips: Whether a medium is kept mirrored too.

    Attributes:
        folder: The same.
        latents: The records of media; None where media are not encoded.
        text: The records of prompts.
        stores: All there are.
    """

    def __init__(self, folder: Path, latents: Mapping[str, Any] | None, text: Mapping[str, Any], flips: bool) -> None:
        self.folder = folder
        self._about = {} if latents is None else {"latents": latents}
        self._about["text"] = text
        self._mirrored = (False, True) if flips else (False,)
        stores = {name: TensorStore(folder / f"{name}-{content_hash(about)}") for name, about in self._about.items()}
        self.latents, self.text = stores.get("latents"), stores["text"]
        self.stores = tuple(stores.values())

    def medium_keys(self, key: str) -> list[str]:
        """The keys of a medium's records: as it is, and mirrored where that is wanted.

        Args:
            key: Of its content.
        """
        return [medium_key(key, mirrored) for mirrored in self._mirrored]

    def has_medium(self, key: str) -> bool:
        """Whether every record of a medium is there."""
        store = self.latents
        return store is not None and all(each in store for each in self.medium_keys(key))

    def complete(self, key: str, prompt: str) -> bool:
        """Whether everything is there that is kept of a medium and a prompt."""
        return (self.latents is None or self.has_medium(key)) and self.has_prompt(prompt)

    def medium(self, key: str, mirrored: bool) -> Record:
        """The latents of a medium that `has_medium`, and the `numbers` that go with it.

        Raises:
            UserError: They have gone since.
        """
        assert self.latents is not None
        return self.latents.read(medium_key(key, mirrored))

    def has_prompt(self, prompt: str) -> bool:
        """Whether a prompt's encodings are there."""
        return prompt_key(prompt) in self.text

    def prompt(self, prompt: str) -> Record:
        """The encodings of a prompt that `has_prompt`.

        Raises:
            UserError: They have gone since.
        """
        return self.text.read(prompt_key(prompt))

    def describe(self) -> None:
        """Write beside the records what they are of, for people."""
        for store, about in zip(self.stores, self._about.values(), strict=True):
            (store.folder / "about.json").write_text(json.dumps(dict(about), indent=1, default=str), encoding="utf-8")


def medium_key(key: str, mirrored: bool) -> str:
    """The key of a medium's record."""
    return content_hash([key, "mirrored"]) if mirrored else key


def prompt_key(prompt: str) -> str:
    """The key of a prompt's record."""
    return content_hash(prompt)


def open_cache(
    options: CacheOptions,
    source: PipelineSource,
    family: type[DiffusionFamily],
    loaded: Callable[[], DiffusionFamily],
    media: Mapping[str, Any],
    prompts: Mapping[str, Any],
    flips: bool,
) -> FrozenCache:
    """The caches that serve these encoders and settings.

    Args:
        options: Where, and of which dtype.
        source: Of the encoders.
        family: How they are called.
        loaded: Loads the encoders, where they are not known by their files' sizes and times.
        media: What of a modality's settings decides what is encoded of a medium.
        prompts: What of them decides what is encoded of a prompt.
        flips: Whether media are kept mirrored too.

    Raises:
        ConfigError: The folder is a file.
        UserError: The encoders cannot be found.
    """
    folder, index = cache_root(options.folder), source.index()
    parts = [name for name, value in index.items() if isinstance(value, list) and value[0] is not None]
    text_parts = [name for name in text_part_names(family.text_parts) if name in parts]
    shared = {
        "family": f"{family.__module__}.{family.__qualname__}",
        "settings": dict(family.encoder_settings(index, source.config(family.denoiser_part))),
        "dtype": options.dtype,
        "version": RECORD_VERSION,
        "libraries": _library_versions(),
    }

    def about(names: Sequence[str]) -> dict[str, Any]:
        how = {"encoder dtype": source.encoder_dtype, "variant": source.variant, "parts": list(names)}
        identity = remembered_identity(
            folder / "encoders",
            _files(source, names),
            how,
            lambda: parts_hash(loaded().pipeline, names),
        )
        return {**shared, "encoders": identity, "encoder dtype": source.encoder_dtype}

    media_parts = [name for name in parts if name in family.media_parts]
    of_media = {**about(media_parts), **media} if media_parts or family.always_encodes else None
    return FrozenCache(folder, of_media, {**about(text_parts), **prompts}, flips)


def cache_root(chosen: str | None) -> Path:
    """The folder of all caches.

    Args:
        chosen: The option's; None for `frozen` in the folder `MODALIGN_CACHE`, or `~/.cache/modalign`.

    Raises:
        ConfigError: It, or what it would lie in, is a file.
    """
    variable = os.environ.get("MODALIGN_CACHE")
    if chosen:
        option, folder = "modality.cache_folder", Path(chosen).expanduser()
    else:
        option = "MODALIGN_CACHE" if variable else "the folder of modality.cache_folder: null"
        folder = Path(variable or Path.home() / ".cache" / "modalign") / "frozen"
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.exists(path))
    if not there.is_dir():
        raise ConfigError(
            f"{option} is to be a folder, {str(folder)!r}, and {str(there)!r} is a file.",
            "Set modality.cache_folder to a folder; it is made where there is none.",
        )
    return folder


def _library_versions() -> dict[str, str]:
    """Of the encoders' code, without what only mends it: to encode all again at each patch would cost more than it
    is worth, while a change of how prompts are cut or padded comes with a minor version."""
    return {name: ".".join(version(name).split(".")[:2]) for name in LIBRARIES}


def _files(source: PipelineSource, parts: Sequence[str]) -> list[Path]:
    """What some parts of a pipeline are loaded from, as far as it is on this machine."""
    place = source.resolved()
    folder: Path | None = Path(place)
    if not Path(place).is_dir():
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(place, INDEX, revision=source.revision)
        folder = Path(found).parent if isinstance(found, str) else None
    if folder is None:
        return []
    return [path for part in parts for path in (folder / part).glob("*") if path.is_file()]
