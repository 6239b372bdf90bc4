"""Files of rows about images for every kind of feedback, and runs of the real trainer over them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from tests.recipes import COLOURS, write_pictured

LONG = " It stands to the left of a small blue square and of three green circles."


def write_pairs(folder: Path, rows: int, text_only: int = 0) -> Path:
    """Pairs of answers of very different lengths about one or two images, with all that an objective may ask for.

    Args:
        folder: Where the file and its images go.
        rows: How many.
        text_only: Each row whose number is a multiple of this has no image; 0 for none. Such rows lack other images.
    """
    written = write_pictured(folder, rows)
    found = [json.loads(line) for line in written.read_text().splitlines()]
    for number, row in enumerate(found):
        row["chosen"] += LONG * (number % 3 == 1)
        if text_only and number % text_only == 0:
            row["images"] = []
        others = [COLOURS[(number + step) % len(COLOURS)] for step in (2, 3)]
        row["other_images"] = [f"{colour}.png" for colour in others[: len(row["images"])]]
        row |= {"other_response": f"It is {others[0]}.", "chosen_score": 1.0 + number, "rejected_score": 0.5}
    return _written(folder / "pairs.jsonl", found)


def write_labels(folder: Path, rows: int) -> Path:
    """Single answers, good and bad ones in turn."""
    return _written(
        folder / "labels.jsonl",
        [
            {
                "prompt": row["prompt"],
                "images": row["images"],
                "completion": row["rejected" if number % 2 else "chosen"],
                "label": number % 2 == 0,
            }
            for number, row in enumerate(_pairs(folder, rows))
        ],
    )


def write_demonstrations(folder: Path, rows: int) -> Path:
    names = {"prompt": "prompt", "images": "images", "chosen": "completion"}
    found = [{names[name]: row[name] for name in names} for row in _pairs(folder, rows)]
    return _written(folder / "demonstrations.jsonl", found)


def write_lists(folder: Path, rows: int) -> Path:
    """Two or three answers each, the first the best."""
    found = []
    for number, row in enumerate(_pairs(folder, rows)):
        answers = [row["chosen"], row["rejected"], row["other_response"]][: 2 + number % 2]
        completions = [{"response": text, "score": -float(place)} for place, text in enumerate(answers)]
        found.append({"prompt": row["prompt"], "image": row["images"], "completions": completions})
    return _written(folder / "lists.jsonl", found)


def write_two_images(folder: Path, rows: int) -> Path:
    """One question to two images, with a right and a wrong answer for the first and a right one for the second."""
    return _written(
        folder / "two.jsonl",
        [
            {
                "question": row["prompt"],
                "image_1": row["images"][0],
                "image_2": row["other_images"][0],
                "resp_1_w": row["chosen"],
                "resp_1_l": row["rejected"],
                "resp_2_w": row["other_response"],
            }
            for row in _pairs(folder, rows)
        ],
    )


def trainer(folder: Path, **options: Any) -> Trainer:
    quiet = {
        "accelerator": "cpu",
        "default_root_dir": folder,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "num_sanity_val_steps": 0,
    }
    return Trainer(**{**quiet, **options})


def _pairs(folder: Path, rows: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in write_pairs(folder, rows).read_text().splitlines()]


def _written(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
