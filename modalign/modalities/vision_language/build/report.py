"""What became of the demonstrations: counts, reasons, options and time."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from modalign.core.errors import RowError
from modalign.modalities.vision_language.build.demonstrations import Survey

REPORT = "report.json"


def write_report(
    folder: Path, survey: Survey, settings: Mapping[str, Any], chunks: Sequence[Mapping[str, Any]], retrieval: float
) -> Iterator[str]:
    """Write `report.json`, and say the same for a person.

    Args:
        folder: Where to.
        survey: Of the demonstrations.
        settings: All options, with the identity of the model.
        chunks: What the journal tells.
        retrieval: Seconds that this run took to read the images and to find their neighbours.
    """
    report = _report(survey, settings, chunks, retrieval)
    (folder / REPORT).write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    yield f"{report['written']} rows written, {sum(report['left_out'].values())} left out"
    yield from (f"  left out: {count}, {reason}" for reason, count in report["left_out"].items())
    for name in ("similarity", "text_similarity"):
        if report[name]:
            yield f"{name}: " + ", ".join(f"{which} {value:.4f}" for which, value in report[name].items())


def _report(
    survey: Survey, settings: Mapping[str, Any], chunks: Sequence[Mapping[str, Any]], retrieval: float
) -> dict[str, Any]:
    unusable = [
        {"source": row.source, "row": row.row, "reason": row.message.splitlines()[0]} for row in survey.left_out
    ]
    failed = [row for chunk in chunks for row in chunk["left_out"]]
    reasons = Counter(row.reason for row in survey.left_out) + Counter(RowError(row["reason"]).reason for row in failed)
    ranks = Counter(rank for chunk in chunks for rank in chunk["ranks"])
    return {
        "rows": survey.rows,
        "demonstrations": len(survey.places),
        "images": len(survey.keys),
        "written": sum(ranks.values()),
        "left_out": dict(reasons.most_common()),
        "answers": dict(sum((Counter(chunk["tried"]) for chunk in chunks), Counter())),
        "neighbours_by_rank": {str(rank): ranks[rank] for rank in sorted(ranks)},
        "similarity": _spread([value for chunk in chunks for value in chunk["similarities"]]),
        "text_similarity": _spread([value for chunk in chunks for value in chunk["text_similarities"]]),
        "seconds": {
            "reading and retrieval, latest run": round(retrieval, 3),
            "answers": round(sum(chunk["seconds"] for chunk in chunks), 3),
        },
        "settings": dict(settings),
        "left_out_rows": unusable + failed,
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    return {"least": min(values), "mean": sum(values) / len(values), "greatest": max(values)}
