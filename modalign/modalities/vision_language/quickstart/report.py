"""What the demonstration prints at its end, the same as JSON, and pictures with their descriptions."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.table import Table

from modalign.core.media import Media
from modalign.modalities.image.contact_sheet import contact_sheet
from modalign.modalities.quickstart.estimates import Estimate
from modalign.modalities.quickstart.policies import START
from modalign.modalities.quickstart.printing import each, print_findings, report_table
from modalign.modalities.quickstart.stages import write_json
from modalign.modalities.vision_language.quickstart.plan import TITLES
from modalign.modalities.vision_language.quickstart.preference import STATEMENT, Pairs
from modalign.modalities.vision_language.quickstart.scenes import describe
from modalign.modalities.vision_language.quickstart.summary import (
    BY_PICTURE,
    RATE,
    RECALL,
    Results,
    conclusions,
)

SHOWN = 2
ON_SHEET = 8
CELL = 192
COLUMNS = {
    "hallucinated": "share of the objects named in descriptions of unseen pictures that are not there with this "
    "colour, shape and place; 95% interval over seeds and pictures",
    "wrong": "share of descriptions that invent anything",
    "recall": "share of the objects in the pictures that are named: a description that says nothing has 0",
    "count": "share of descriptions that state the right number of objects",
    "words": "mean length",
    "accuracy": "share of held-out pairs whose chosen description gained more likelihood than the rejected, ties half",
    "drift": "what the held-out chosen descriptions gained in log-likelihood, in nats",
    "KL": "divergence from the start on the policy's own descriptions, in nats",
}


def print_report(results: Results) -> None:
    """Print examples, table and conclusions."""
    introduction = [*_how_pairs_come_about(results), "", *_examples(results)]
    print_findings(STATEMENT, _table(results), COLUMNS, _counts(results), conclusions(results), introduction)


def write_sheet(path: Path, results: Results) -> Path:
    """Write unseen pictures of the first seed, with the start's and every method's description beneath."""
    pictures = results.task.world.unseen[:ON_SHEET]
    captions = ["\n".join(_described(results, number)) for number in range(len(pictures))]
    files = [Media(str(results.task.folder / picture.path)) for picture in pictures]
    contact_sheet(captions, {"picture": files}, CELL).save(path)
    return path


def write_results(path: Path, results: Results, seconds: float) -> None:
    """Everything that is printed, and the same for every seed alone, as JSON."""
    seeds = [result.learned for result in results.seeds]
    content = {
        "preference": STATEMENT,
        "seeds": [learned.seed for learned in seeds],
        "seconds": seconds,
        "pictures": len(results.task.world.unseen),
        "pairs": [{"seed": learned.seed, **_summary(learned.preferences)} for learned in seeds],
        "policies": {title: _measured(results, title) for title in results.titles},
        "conclusions": conclusions(results),
        "models": results.models(),
    }
    write_json(content, path)


def _how_pairs_come_about(results: Results) -> list[str]:
    plan = results.task.plan
    others = {
        "rdpo": "rDPO's other image is of another scene: the nearest neighbour by the start's own vision tower.",
        "mdpo": "mDPO's other image is a small crop of the picture.",
    }
    return [
        f"The start learned from {plan.described} pictures whose descriptions invent a habitual companion "
        f"({plan.carelessness.invents:.0%}) or leave something out ({plan.carelessness.omits:.0%}).",
        f"It then described other pictures {plan.draws} times each; the known scene says which description is chosen "
        "(fewest mistakes) and which rejected (most).",
        *(told for method, told in others.items() if method in results.methods),
    ]


def _examples(results: Results) -> list[str]:
    return [line for number in range(SHOWN) for line in _described(results, number)]


def _described(results: Results, number: int) -> list[str]:
    """What is in an unseen picture, and how the first seed's start and methods describe it."""
    titles = [START, *(TITLES[method] for method in results.methods)]
    said = [f"{title}: {results.seeds[0].measured[title].descriptions[number][0]}" for title in titles]
    return [f"In the picture: {describe(results.task.world.unseen[number].scene)}", *(f"  {line}" for line in said)]


def _table(results: Results) -> Table:
    rows = {}
    for title in results.titles:
        estimates = {quantity: Estimate.of(results.by_picture(title, quantity)) for quantity in BY_PICTURE}
        means = results.pair_means(title)
        rows[title] = [
            str(estimates[RATE]),
            f"{estimates['wrong'].mean:.2f}",
            str(estimates[RECALL]),
            f"{estimates['counted'].mean:.2f}",
            f"{estimates['words'].mean:.1f}",
            f"{means['accuracy']:.2f}",
            f"{means['drift']:+.2f}",
            f"{estimates['kl'].mean:.2f}",
        ]
    return report_table(tuple(COLUMNS), rows)


def _counts(results: Results) -> str:
    plan, learned = results.task.plan, [result.learned for result in results.seeds]
    pairs = [one.preferences for one in learned]
    seeds = ", ".join(str(one.seed) for one in learned)
    return (
        f"Seeds {seeds}. Measured on {len(results.task.world.unseen)} unseen pictures, {plan.samples} descriptions "
        f"each. Trained on {each([len(one.train) for one in pairs])} pairs of the start's own descriptions; accuracy "
        f"and drift from {each([len(one.held_out) for one in pairs])} pairs held out; "
        f"{each([one.ties for one in pairs])} pictures left out as ties. Of what the chosen descriptions name, "
        f"{fmean(one.chosen_rate for one in pairs):.0%} is not there, which is all that imitation aims at; of what "
        f"the rejected name, {fmean(one.rejected_rate for one in pairs):.0%}."
    )


def _measured(results: Results, title: str) -> dict[str, Any]:
    by_picture = {quantity: asdict(Estimate.of(results.by_picture(title, quantity))) for quantity in BY_PICTURE}
    by_seed: Sequence[Mapping[str, float]] = [seed.measured[title].means() for seed in results.seeds]
    return {**by_picture, **results.pair_means(title), "by_seed": by_seed}


def _summary(pairs: Pairs) -> dict[str, float]:
    return {
        "train": len(pairs.train),
        "held_out": len(pairs.held_out),
        "ties": pairs.ties,
        "chosen_rate": pairs.chosen_rate,
        "rejected_rate": pairs.rejected_rate,
    }
