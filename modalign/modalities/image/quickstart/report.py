"""What the demonstration prints at its end, the same as JSON, and pictures side by side."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.table import Table

from modalign.modalities.image.contact_sheet import contact_sheet
from modalign.modalities.image.quickstart.digits import CAPTIONS
from modalign.modalities.image.quickstart.plan import TITLES
from modalign.modalities.image.quickstart.preference import STATEMENT, Preferences
from modalign.modalities.image.quickstart.summary import BY_PICTURE, PLACES, Results, conclusions
from modalign.modalities.quickstart.estimates import Estimate, estimates_by_seed
from modalign.modalities.quickstart.policies import START
from modalign.modalities.quickstart.printing import each, print_findings, report_table
from modalign.modalities.quickstart.stages import write_json

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
    print_findings(STATEMENT, _table(results), COLUMNS, _counts(results), conclusions(results))


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
        "models": results.models(),
    }
    write_json(content, path)


def _table(results: Results) -> Table:
    rows = {}
    for title in results.titles:
        estimates = {quantity: Estimate.of(results.by_picture(title, quantity)) for quantity in BY_PICTURE}
        means = results.pair_means(title)
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
    by_picture = {quantity: estimates_by_seed(results.by_picture(title, quantity)) for quantity in BY_PICTURE}
    distances: Sequence[float] = results.distances(title)
    return {**by_picture, **results.pair_means(title), "distance": {"mean": fmean(distances), "by_seed": distances}}


def _summary(preferences: Preferences) -> dict[str, float]:
    return {
        "lists": len(preferences.train),
        "held_out": len(preferences.held_out),
        "ties": preferences.ties,
        "chosen_reward": preferences.chosen_reward,
    }
