"""The steps of `modalign build tango2`, from captions to pairs of sounds (Majumder et al. 2024, arXiv 2404.09956)."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch

from modalign.core.claims import check_claim, claim
from modalign.core.errors import UserError
from modalign.core.keys import key_seed
from modalign.core.written_rows import WrittenRows
from modalign.modalities.audio.build.plan import Plan
from modalign.modalities.audio.build.report import write_report
from modalign.modalities.audio.build.rewriting import Change
from modalign.modalities.audio.build.selection import Selected, Strategy, Take, select

ROWS = "pairs.jsonl"
JOURNAL = "chunks.jsonl"
CLIPS = "clips"

PROMPTS_AT_ONCE = 16
"""Prompts whose sounds are generated together, and written together."""

SECONDS_BETWEEN_LINES = 20


def build_tango2(plan: Plan) -> None:
    """Run all steps that are not done yet, and print what came out.

    Raises:
        UserError: The folder was begun otherwise.
    """
    settings = plan.settings()
    check_claim(plan.folder, settings, "pairs of sounds")
    rows = WrittenRows(plan.folder / ROWS, plan.folder / JOURNAL)
    done, count = sum(chunk["prompts"] for chunk in rows.chunks), len(plan.prompts)
    print(f"{count} prompts, {count - done} to go", flush=True)
    said = time.monotonic()
    for start in range(done, count, PROMPTS_AT_ONCE):
        end = min(start + PROMPTS_AT_ONCE, count)
        _chunk(plan, rows, range(start, end))
        if end == count or time.monotonic() - said > SECONDS_BETWEEN_LINES:
            print(f"{end} of {count} prompts", flush=True)
            said = time.monotonic()
    for told in write_report(plan.folder, settings, rows.chunks):
        print(told)
    print(f"built: {plan.folder / ROWS}")


def _chunk(plan: Plan, rows: WrittenRows, numbers: range) -> None:
    """Generate, score and choose for some prompts, then write their sounds and their rows."""
    started = time.monotonic()
    prompts = [plan.prompts[number] for number in numbers]
    faithful = _faithful(plan, prompts)
    others = list[list[tuple[Strategy, Take]]]([] for _ in prompts)
    left_out = Counter[str]()
    for change in get_args(Change):
        if change in plan.strategies:
            found = _rewritten(plan, prompts, change)
            left_out[f"{change}: the caption has no such change"] += sum(not each for each in found)
            for all_others, each in zip(others, found, strict=True):
                all_others += ((change, take) for take in each)
    claim(plan.folder, plan.settings(), "pairs of sounds")
    inference = "inference" in plan.strategies
    chosen = [select(takes, other, plan.thresholds, inference) for takes, other in zip(faithful, others, strict=True)]
    written = [row for number, each in zip(numbers, chosen, strict=True) for row in _rows(plan, number, each)]
    left_out += sum((each.left_out for each in chosen), Counter[str]())
    told = {
        "prompts": len(numbers),
        "strategies": [row["strategy"] for row in written],
        "chosen_scores": [row["chosen_score"] for row in written],
        "rejected_scores": [row["rejected_score"] for row in written],
        "left_out": dict(+left_out),
        "seconds": round(time.monotonic() - started, 3),
    }
    rows.add(written, told)


def _faithful(plan: Plan, prompts: Sequence[str]) -> list[list[Take]]:
    """Each prompt's takes, by every variation of the sampling."""
    takes = list[list[Take]]([] for _ in prompts)
    for number, variation in enumerate(plan.variations):
        found = _takes(plan, prompts, prompts, plan.samples, f"variation {number}", variation)
        for all_takes, each in zip(takes, found, strict=True):
            all_takes += each
    return takes


def _rewritten(plan: Plan, prompts: Sequence[str], change: Change) -> list[list[Take]]:
    """Takes of captions that say otherwise, one a caption, judged under the prompts."""
    captions = plan.rewriter.rewritten(prompts, change, plan.rewrites, plan.seed)
    judged = [(prompt, caption) for prompt, each in zip(prompts, captions, strict=True) for caption in each]
    if not judged:
        return [[] for _ in prompts]
    under, said = [prompt for prompt, _ in judged], [caption for _, caption in judged]
    found = iter(_takes(plan, under, said, 1, change, plan.variations[0]))
    return [[take for _ in each for take in next(found)] for each in captions]


def _takes(
    plan: Plan, prompts: Sequence[str], said: Sequence[str], n: int, purpose: str, options: Mapping[str, Any]
) -> list[list[Take]]:
    """`n` sounds of each caption, scored under the prompt it stands for."""
    seed = key_seed(plan.seed, "tango2", purpose)
    with torch.no_grad():
        drawn = plan.modality.sample(plan.policy, said, n=n, seed=seed, **{**plan.sampling, **options})
        scores = plan.reward.score(
            [prompt for prompt in prompts for _ in range(n)], [clip for clips in drawn for clip in clips]
        ).tolist()
    return [
        [Take(clip, caption, scores[place * n + number], dict(options)) for number, clip in enumerate(clips)]
        for place, (clips, caption) in enumerate(zip(drawn, said, strict=True))
    ]


def _rows(plan: Plan, number: int, selected: Selected) -> list[dict[str, Any]]:
    """The rows of a prompt, once their sounds are written."""
    if selected.chosen is None or not selected.rejected:
        return []
    folder = plan.folder / CLIPS / f"{number:06d}"
    best = _written(plan, selected.chosen, folder, "chosen")
    rows = list[dict[str, Any]]()
    for place, (strategy, take) in enumerate(selected.rejected):
        rows.append(
            {
                "prompt": plan.prompts[number],
                "chosen": best,
                "rejected": _written(plan, take, folder, f"rejected-{place}-{strategy}"),
                "strategy": strategy,
                "chosen_score": selected.chosen.score,
                "rejected_score": take.score,
                "scorer": plan.scorer,
                "rejected_prompt": take.said,
                "chosen_sampling": selected.chosen.options,
                "rejected_sampling": take.options,
            }
        )
    return rows


def _written(plan: Plan, take: Take, folder: Path, name: str) -> str:
    path = plan.modality.save(take.clip, folder / name)
    if path is None:
        raise UserError(
            f"The modality {plan.modality.name!r} writes no sounds.", "Choose one whose responses are sounds."
        )
    return path.relative_to(plan.folder).as_posix()
