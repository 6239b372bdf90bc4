"""Sounds that libsndfile does not know (M4A, AAC, WebM, WMA), read by torchcodec where it is installed and works."""

from typing import Any, BinaryIO

from torch import Tensor

from modalign.core.errors import RowError
from modalign.modalities.audio.reading.mpeg import aac_seconds

_CURE = (
    "Convert it to FLAC or WAV, for example with `ffmpeg -i sound.m4a sound.flac`; or install torchcodec "
    "(`pip install torchcodec`) and FFmpeg's libraries."
)

_AAC = "AAC"


class TorchcodecDecoder:
    """A file that FFmpeg reads.

    Args:
        decoder: A `torchcodec.decoders.AudioDecoder`.
        name: What messages call it.
        seconds: How long it is, where its header does not say and torchcodec would guess.
    """

    def __init__(self, decoder: Any, name: str, seconds: float | None = None) -> None:
        self._decoder, self._name = decoder, name
        about = decoder.metadata
        self.rate, self.channels = int(about.sample_rate), int(about.num_channels)
        self.frames = round((seconds or about.duration_seconds or 0.0) * self.rate)

    def read(self, first: int, count: int) -> Tensor:
        """See `Decoder.read`."""
        try:
            found = self._decoder.get_samples_played_in_range(first / self.rate, (first + count) / self.rate)
        except (RuntimeError, ValueError, IndexError) as error:
            raise _undecodable(self._name, error) from None
        samples: Tensor = found.data[:, :count]
        return samples.contiguous()


def compressed_kind(head: bytes) -> str:
    """What a file is by its first 16 bytes, where libsndfile does not read it; else nothing."""
    if head[4:8] == b"ftyp":
        return "MPEG-4 (M4A)"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "WebM or Matroska"
    if head[:4] == b"\x30\x26\xb2\x75":
        return "Windows Media"
    # Twelve bits of synchronisation as in MP3; AAC has 0 where MP3 has the layer.
    is_aac = len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0
    return _AAC if is_aac else ""


def open_compressed(file: BinaryIO, kind: str, name: str) -> TorchcodecDecoder:
    """A sound of one of these kinds.

    Raises:
        RowError: torchcodec is not installed or cannot load FFmpeg, or the file is damaged.
    """
    try:
        from torchcodec.decoders import AudioDecoder
    except (ImportError, RuntimeError):
        raise RowError(f"the sound needs torchcodec to be read: {name} is {kind}", _CURE) from None
    seconds = aac_seconds(file) if kind == _AAC else None
    file.seek(0)
    try:
        return TorchcodecDecoder(AudioDecoder(file), name, seconds)
    except (RuntimeError, ValueError) as error:
        if "libtorchcodec" in str(error):
            raise RowError(f"the sound needs FFmpeg to be read: {name} is {kind}", _CURE) from None
        raise _undecodable(name, error) from None


def _undecodable(name: str, error: Exception) -> RowError:
    """Of what torchcodec says, the first line; the others ask to report the error to its authors."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return RowError(f"the sound cannot be decoded: {name}: {reason}", "Remove the row, or mend the file.")
