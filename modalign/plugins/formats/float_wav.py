"""WAV files of floating point, written by hand: what libsndfile writes has the time of day in it."""

import struct

import numpy as np
from numpy.typing import NDArray

_FLOAT = 3


def float_wav(samples: NDArray[np.float32], rate: int) -> bytes:
    """The content of a WAV file that keeps every sample; the same samples give the same bytes.

    Args:
        samples: `(channels, frames)`.
        rate: Frames a second.
    """
    channels = samples.shape[0]
    content = np.ascontiguousarray(samples.T, dtype="<f4").tobytes()
    layout = struct.pack("<HHIIHHH", _FLOAT, channels, rate, 4 * channels * rate, 4 * channels, 32, 0)
    chunks = [(b"fmt ", layout), (b"fact", struct.pack("<I", samples.shape[1])), (b"data", content)]
    body = b"WAVE" + b"".join(name + struct.pack("<I", len(chunk)) + chunk for name, chunk in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body
