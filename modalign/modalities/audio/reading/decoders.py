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
from modalign.modalities.audio.reading.mpeg import mp3_frames

_PREROLL = {"MP3": 32 * 1152, "OGG": 2**18}
"""How many samples before a wanted one are decoded too. MPEG frames borrow bits from the ones before them; and a seek
into the last page of an OGG file lands at a wrong place (libsndfile issue 885), so one into an earlier page is made: a
page has at most 255 packets, mostly of up to 1024 samples."""

TOLERANCE = 0.1
"""By how many seconds a file's header may be wrong about its length, and a slice may end after its file."""

_FLAC = 26
"""With how many bytes a FLAC file begins until its length is said."""

_REMOVE = "Remove the row, or mend the file."


class Decoder(Protocol):
    """An opened sound.

    Attributes:
        rate: Frames a second.
        channels: 1 for mono, 2 for stereo.
        frames: Samples in each channel, as the header says, or counted where it does not.
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
        counted: How many frames it has, where that is known and its header does not say.

    Raises:
        RowError: Not all of it can be read.
    """

    def __init__(self, file: Any, name: str, counted: int | None = None) -> None:
        self._file, self._name = file, name
        self.rate, self.channels, self.frames = int(file.samplerate), int(file.channels), int(file.frames)
        if counted is not None:
            self._check_guess(counted)
            self.frames = min(self.frames, counted)

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

    def _check_guess(self, counted: int) -> None:
        """libsndfile reads no more of an MP3 without a length than it guesses from its first frames."""
        if counted > self.frames + TOLERANCE * self.rate:
            raise RowError(
                f"the sound does not say how long it is: {self._name} is an MP3 of variable bit rate, and only "
                f"{self.frames / self.rate:.1f} of its {counted / self.rate:.1f} seconds would be read",
                "Write its header again, for example with `ffmpeg -i sound.mp3 -c copy new.mp3`, or remove the row.",
            )


class _Tolerant:
    """A file that stays where it is when a damaged header sends libsndfile to before its beginning.

    From a file of Python's own, that would print a traceback.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.read, self.tell = file.read, file.tell

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):
            return self._file.tell()


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
        head = file.read(_FLAC)
        kind = compressed_kind(head)
        file.seek(0)
        if kind:
            yield open_compressed(file, kind, name)
            return
        missing = missing_bytes(file)
        if missing:
            raise RowError(
                f"the sound is cut off: {name} lacks {missing} of the bytes that its headers promise",
                "Fetch or write the file again, or remove the row.",
            )
        _check_length_is_known(head, name)
        counted = mp3_frames(file)
        with _sound_file(file, name) as sound:
            yield SoundfileDecoder(sound, name, counted)


def _check_length_is_known(head: bytes, name: str) -> None:
    """Refuse FLAC from a program that wrote into a pipe: its header has 0 for the 36 bits of its number of frames."""
    if head[:4] == b"fLaC" and len(head) == _FLAC and int.from_bytes(head[21:], "big") & 0xF_FFFF_FFFF == 0:
        raise RowError(
            f"the sound does not say how long it is: {name} is FLAC that was written into a pipe",
            "Write it again, for example with `ffmpeg -i sound.flac new.flac`, or remove the row.",
        )


def _sound_file(file: BinaryIO, name: str) -> Any:
    import soundfile

    file.seek(0)
    try:
        return soundfile.SoundFile(_Tolerant(file))
    except soundfile.LibsndfileError as error:
        # What libsndfile says of an MP3 without a whole frame; the file was opened, so it exists.
        is_torn = "does not exist" in error.error_string
        raise RowError(
            f"the file is not a sound that can be read: {name}: "
            f"{'no frame of an MP3 in it is whole' if is_torn else error.error_string}",
            "Give WAV, FLAC, OGG, Opus, MP3 or AIFF.",
        ) from None
