"""What decodes a file: libsndfile, and torchcodec for what libsndfile does not know."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Protocol

import torch
from torch import Tensor

from modalign.core.errors import RowError
from modalign.core.media import Media
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.reading.chunks import missing_bytes
from modalign.modalities.audio.reading.compressed import compressed_kind, open_compressed

_PREROLL = {"MP3": 32 * 1152, "OGG": 2**18}
"""How many samples before a wanted one are decoded too. MPEG frames borrow bits from the ones before them; and a seek
into the last page of an OGG file lands at a wrong place (libsndfile issue 885), so one into an earlier page is made: a
page has at most 255 packets, mostly of up to 1024 samples."""

_REMOVE = "Remove the row, or mend the file."


class Decoder(Protocol):
    """An opened sound.

    Attributes:
        rate: Frames a second.
        channels: 1 for mono, 2 for stereo.
        frames: Samples in each channel, as the header says.
    """

    rate: int
    channels: int
    frames: int

    def read(self, first: int, count: int) -> Tensor:
        """`(channels, count)` float32 samples from frame `first` on; fewer where the file ends early.

        Raises:
            RowError: They cannot be decoded.
        """


class SoundfileDecoder:
    """A file that libsndfile reads: WAV, FLAC, OGG, Opus, MP3, AIFF, AU, CAF, W64, RF64 and more.

    Args:
        file: A `soundfile.SoundFile`.
        name: What messages call it.
    """

    def __init__(self, file: Any, name: str) -> None:
        self._file, self._name = file, name
        self.rate, self.channels, self.frames = int(file.samplerate), int(file.channels), int(file.frames)

    def read(self, first: int, count: int) -> Tensor:
        """See `Decoder.read`."""
        import soundfile

        early = min(_PREROLL.get(self._file.format, 0), first)
        try:
            if first:
                self._file.seek(first - early)
            samples = self._file.read(early + count, dtype="float32", always_2d=True)[early:]
        except soundfile.LibsndfileError as error:
            raise RowError(f"the sound cannot be decoded: {self._name}: {error.error_string}", _REMOVE) from None
        return torch.from_numpy(samples).T.contiguous()


def sound_name(response: Any) -> str:
    """What messages call a sound.

    Raises:
        RowError: It is none.
    """
    if isinstance(response, Clip):
        return "the generated clip"
    if not isinstance(response, Media):
        raise RowError(
            f"this is not a sound: it is of the type {type(response).__name__}",
            "Name the column of the sounds in data.format.",
        )
    return repr(response.path or "the sound in the row")


@contextmanager
def naming(response: Any) -> Iterator[None]:
    """A context in which every refusal of a sound says which it is: what looks at samples alone does not know."""
    try:
        yield
    except RowError as error:
        name = sound_name(response)
        if name in error.message:
            raise
        raise RowError(f"{error.message} ({name})", error.cure, error.column) from None


@contextmanager
def opened(response: Media) -> Iterator[Decoder]:
    """A sound of which nothing but the header is read yet.

    Raises:
        RowError: It is none, or its header is damaged; the message names the file.
    """
    name = sound_name(response)
    with response.open() as file:
        kind = compressed_kind(file.read(16))
        file.seek(0)
        if kind:
            yield open_compressed(file, kind, name)
            return
        missing = missing_bytes(file)
        if missing:
            raise RowError(
                f"the sound is cut off: {name} lacks {missing} of the bytes that its header promises",
                "Fetch or write the file again, or remove the row.",
            )
        with _sound_file(file, name) as sound:
            yield SoundfileDecoder(sound, name)


def _sound_file(file: BinaryIO, name: str) -> Any:
    import soundfile

    file.seek(0)
    try:
        return soundfile.SoundFile(file)
    except (soundfile.LibsndfileError, TypeError) as error:  # a TypeError where the name says raw samples
        reason = getattr(error, "error_string", None) or "raw samples say neither their rate nor their type"
        raise RowError(
            f"the file is not a sound that can be read: {name}: {reason}",
            "Give WAV, FLAC, OGG, Opus, MP3 or AIFF.",
        ) from None
