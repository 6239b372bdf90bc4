"""What became of the prompts: counts, scores, reasons and time."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

REPORT = "report.json"


def write_report(folder: Path, settings: Mapping[str, Any], chunks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Write `report.json`, and say the same for a person.

    Args:
        folder: Where to.
        settings: All options, with the identity of the model.
        chunks: What the journal tells.
    """
    report = _report(settings, chunks)
    (folder / REPORT).write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    yield f"{report['pairs']} pairs of {report['prompts']} prompts"
    for strategy, told in report["strategies"].items():
        scores = f"mean score {told['chosen_score']:.4f} against {told['rejected_score']:.4f}"
        yield f"  {strategy}: {told['pairs']}, {scores}"
    yield from (f"  left out: {count}, {reason}" for reason, count in report["left_out"].items())


def _report(settings: Mapping[str, Any], chunks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    pairs = [
        scored
        for chunk in chunks
        for scored in zip(chunk["strategies"], chunk["chosen_scores"], chunk["rejected_scores"], strict=True)
    ]
    strategies = {}
    for strategy in dict.fromkeys(name for name, _, _ in pairs):
        own = [(chosen, rejected) for name, chosen, rejected in pairs if name == strategy]
        strategies[strategy] = {
            "pairs": len(own),
            "chosen_score": fmean(chosen for chosen, _ in own),
            "rejected_score": fmean(rejected for _, rejected in own),
        }
    left_out = sum((Counter(chunk["left_out"]) for chunk in chunks), Counter[str]())
    return {
        "prompts": sum(chunk["prompts"] for chunk in chunks),
        "pairs": len(pairs),
        "strategies": strategies,
        "left_out": dict(left_out.most_common()),
        "seconds": round(sum(chunk["seconds"] for chunk in chunks), 3),
        "settings": dict(settings),
    }
