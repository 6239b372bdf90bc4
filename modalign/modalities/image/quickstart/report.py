"""What the demonstration prints at its end, the same as JSON, and pictures side by side."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.table import Table
from torch import Tensor

from modalign.modalities.image.contact_sheet import contact_sheet
from modalign.modalities.image.quickstart.digits import CAPTIONS
from modalign.modalities.image.quickstart.plan import START, TITLES
from modalign.modalities.image.quickstart.preference import STATEMENT, Preferences
from modalign.modalities.image.quickstart.summary import BY_PAIR, BY_PICTURE, PLACES, Results, conclusions
from modalign.modalities.quickstart.estimates import Estimate
from modalign.modalities.quickstart.printing import each, report_console, report_table

CELL = 96
COLUMNS = {
    "reward": "brightness of pictures from noises that no training saw; 95% interval over seeds and pictures",
    "win rate": "of these pictures against the start's from the same noise: how often, not by how much",
    "accuracy": "share of held-out pairs whose chosen picture gained more likelihood than the rejected, ties half",
    "fidelity": "share of pictures that a classifier of the real digits reads as what was asked for",
    "distance": "Frechet distance to the real digits in their 16 principal components, mean over seeds",
    "contrast": "standard deviation of a picture's shades",
    "drift": "change of the chosen pictures' denoising error on held-out pairs, as a share of the start's",
}


def print_report(results: Results) -> None:
    """Print table and conclusions."""
    console = report_console()
    console.print(f"\nPreference: {STATEMENT}", highlight=False, markup=False, style="bold")
    console.print(_table(results))
    for column, meaning in COLUMNS.items():
        console.print(f"{column}: {meaning}", highlight=False, style="dim")
    console.print(f"\n{_counts(results)}", highlight=False)
    console.print("\nWhat the numbers say", style="bold")
    for line in conclusions(results):
        console.print(f"- {line}", highlight=False, markup=False)


def write_grid(path: Path, results: Results) -> Path:
    """Write the first seed's pictures, a caption a row: the start beside every method, from the same noise."""
    titles = [START, *(TITLES[method] for method in results.methods)]
    columns = {title: results.seeds[0].measured[title].shown for title in titles}
    contact_sheet(CAPTIONS, columns, CELL).save(path)
    return path


def write_results(path: Path, results: Results, seconds: float) -> None:
    """Everything that is printed, and the same for every seed alone, as JSON."""
    seeds = [result.learned for result in results.seeds]
    content = {
        "preference": STATEMENT,
        "seeds": [learned.seed for learned in seeds],
        "seconds": seconds,
        "pictures_a_caption": results.task.plan.pictures,
        "preferences": [{"seed": learned.seed, **_summary(learned.preferences)} for learned in seeds],
        "policies": {title: _measured(results, title) for title in results.titles},
        "conclusions": conclusions(results),
        "models": {
            policy.title: [str(results.task.aligned(learned.seed, policy)) for learned in seeds]
            for policy in results.trained
            if not policy.coin
        },
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def _table(results: Results) -> Table:
    rows = {}
    for title in results.titles:
        estimates = {quantity: Estimate.of(results.by_picture(title, quantity)) for quantity in BY_PICTURE}
        means = {quantity: results.by_pair(title, quantity).mean().item() for quantity in BY_PAIR}
        rows[title] = [
            estimates["reward"].text(PLACES),
            str(estimates["wins"]),
            f"{means['accuracy']:.2f}",
            str(estimates["fidelity"]),
            f"{fmean(results.distances(title)):.2f}",
            f"{estimates['contrast'].mean:.2f}",
            f"{means['drift']:+.1%}",
        ]
    return report_table(tuple(COLUMNS), rows)


def _counts(results: Results) -> str:
    plan, learned = results.task.plan, [result.learned for result in results.seeds]
    preferences = [one.preferences for one in learned]
    seeds = ", ".join(str(one.seed) for one in learned)
    pictures = len(CAPTIONS) * plan.pictures
    chosen = fmean(one.chosen_reward for one in preferences)
    return (
        f"Seeds {seeds}. Measured on {pictures} pictures a seed, {plan.pictures} of each digit. Trained on "
        f"{each([len(one.train) for one in preferences])} lists of {plan.size} pictures of the start's own, or the "
        f"best and the worst of each; accuracy and drift from {each([len(one.held_out) for one in preferences])} pairs "
        f"held out; {each([one.ties for one in preferences])} ties left out. The chosen pictures' own reward is "
        f"{chosen:.{PLACES}f}, which is all that imitation aims at."
    )


def _measured(results: Results, title: str) -> dict[str, Any]:
    by_picture = {quantity: _estimates(results.by_picture(title, quantity)) for quantity in BY_PICTURE}
    by_pair = {quantity: results.by_pair(title, quantity).mean().item() for quantity in BY_PAIR}
    distances: Sequence[float] = results.distances(title)
    return {**by_picture, **by_pair, "distance": {"mean": fmean(distances), "by_seed": distances}}


def _estimates(values: Tensor) -> dict[str, object]:
    return {**asdict(Estimate.of(values)), "by_seed": [asdict(Estimate.of(seed[None])) for seed in values]}


def _summary(preferences: Preferences) -> dict[str, float]:
    return {
        "lists": len(preferences.train),
        "held_out": len(preferences.held_out),
        "ties": preferences.ties,
        "chosen_reward": preferences.chosen_reward,
    }
