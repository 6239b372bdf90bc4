"""Tiny stand-ins for the models and data that recipes name."""

import json
from pathlib import Path

CONFIGS = Path(__file__).parents[1] / "configs"
COLOURS = ["red", "green", "blue", "yellow", "white", "black"]


def rows_for(recipe: str) -> list[dict[str, object]]:
    asked = [(f"Is the {colour} ball number {n} round?", colour, n) for n in range(4) for colour in COLOURS]
    match recipe:
        case "text/sft":
            return [{"prompt": q, "completion": f" Yes, the {colour} one is."} for q, colour, _ in asked]
        case "text/kto":
            return [{"prompt": q, "completion": f" Yes, {n} {colour}.", "label": n % 2 == 0} for q, colour, n in asked]
        case "text/hh-rlhf":
            turn = "\n\nHuman: {}\n\nAssistant: {}"
            return [{"chosen": turn.format(q, "Yes."), "rejected": turn.format(q, f"No, {n}.")} for q, _, n in asked]
        case _:
            return [{"prompt": q, "chosen": f" Yes, {colour}.", "rejected": f" No {n}."} for q, colour, n in asked]


def stand_ins(recipe: str, model: Path, folder: Path) -> list[str]:
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows_for(recipe)))
    return [
        *["--config", str(CONFIGS / f"{recipe}.yaml"), "--data.train", str(data), "--data.validation_rows", "4"],
        *["--model.modality.model", str(model), "--model.modality.max_length", "120", "--data.workers", "0"],
        *["--trainer.default_root_dir", str(folder / "run"), "--trainer.accelerator", "cpu"],
    ]
