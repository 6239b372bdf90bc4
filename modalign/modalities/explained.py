"""Errors of the libraries that read models, as errors that a user can act on."""

from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError

from modalign.core.errors import UserError

LOADING_ERRORS = (OSError, ValueError, ImportError, KeyError, RuntimeError, SafetensorError)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn what the libraries raise while they read files into an error that names what was being read."""
    try:
        yield
    except LOADING_ERRORS as error:
        raise UserError(
            f"Loading {what} failed: {type(error).__name__}: {error}",
            "Check that the folder or hub id is complete and that its library versions fit; see `modalign doctor`.",
        ) from error
