"""WAV files."""

import io
import warnings
from pathlib import Path
from typing import Literal

import torch

from modalign.core.errors import UserError
from modalign.modalities.audio.clip import Clip
from modalign.plugins.formats.float_wav import float_wav

Subtype = Literal["PCM_16", "PCM_24", "FLOAT"]


def wav_bytes(clip: Clip, subtype: Subtype = "PCM_16") -> bytes:
    """The content of a WAV file.

    Args:
        clip: What it holds; gradients are not kept.
        subtype: `PCM_16` or `PCM_24`, integers, which clip what is beyond full scale; or `FLOAT`, which keeps it.

    Raises:
        UserError: A sample is not finite, or there is none.
    """
    samples = clip.samples.detach().cpu().float()
    if samples.ndim != 2 or not samples.numel():
        raise UserError(
            f"A clip of the shape {tuple(samples.shape)} cannot be written.", "It is (channels, frames), with a frame."
        )
    if not bool(torch.isfinite(samples).all()):
        raise UserError(
            "A clip with NaN or infinite samples cannot be written.", "Sample it from a model that is whole."
        )
    if subtype == "FLOAT":
        return float_wav(samples.numpy(), clip.rate)
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples.T.numpy(), clip.rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


def write_wav(clip: Clip, path: Path, subtype: Subtype = "PCM_16") -> None:
    """Write a WAV file; its folders are made.

    Integers clip samples beyond full scale, which a warning tells.

    Args:
        clip: What to write.
        path: Where.
        subtype: See `wav_bytes`.

    Raises:
        UserError: A sample is not finite, or the file cannot be written.
    """
    content = wav_bytes(clip, subtype)
    beyond = int((clip.samples.detach().abs() > 1).sum()) if subtype != "FLOAT" else 0
    if beyond:
        share = beyond / clip.samples.numel()
        warnings.warn(f"{path}: {beyond} samples ({share:.2%}) are beyond full scale and were clipped", stacklevel=2)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}", "Give another folder.") from error
