"""The preference that the model is aligned to, and data that says it: generated sounds in the right and wrong order."""

from pathlib import Path

from modalign.core.keys import generator
from modalign.modalities.audio.quickstart.sounds import CAPTIONS, ORDERS, make_sound, reverse
from modalign.modalities.audio.reading.writing import write_wav

STATEMENT = "The events of a sound are in the caption's order: what comes before `then` is heard first."

Pair = dict[str, str]
"""A row of the format `audio_pairs`, paths from the folder of the data file."""


def write_pairs(folder: Path, count: int, seed: int) -> list[Pair]:
    """Write pairs of sounds, each caption as often: in its order the chosen, in the reverse the rejected one.

    Args:
        folder: Where they go; it must not exist.
        count: How many pairs.
        seed: Of pitches, levels and lengths; the sounds of a pair share none of them.
    """
    draw = generator(seed, "pairs of sounds", folder.name)
    rows = []
    for number in range(count):
        order, row = ORDERS[number % len(ORDERS)], {"prompt": CAPTIONS[number % len(ORDERS)]}
        for role, made in (("chosen", order), ("rejected", reverse(order))):
            path = folder / f"{number:03d}-{role}.wav"
            write_wav(make_sound(made, draw), path)
            row[role] = f"{folder.name}/{path.name}"
        rows.append(row)
    return rows
