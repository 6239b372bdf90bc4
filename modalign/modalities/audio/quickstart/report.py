"""What the demonstration prints at its end, the same as JSON, and sounds to compare, as files and as pictures."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.table import Table

from modalign.modalities.audio.contact_sheet import contact_sheet
from modalign.modalities.audio.quickstart.plan import TITLES
from modalign.modalities.audio.quickstart.preference import STATEMENT
from modalign.modalities.audio.quickstart.sounds import CAPTIONS
from modalign.modalities.audio.quickstart.summary import BY_SOUND, Results, conclusions
from modalign.modalities.audio.reading.loudness import peak_of
from modalign.modalities.audio.reading.writing import write_wav
from modalign.modalities.quickstart.estimates import Estimate, estimates_by_seed
from modalign.modalities.quickstart.policies import IMITATION, START
from modalign.modalities.quickstart.printing import print_findings, report_table
from modalign.modalities.quickstart.stages import write_json

COLUMNS = {
    "reward": "share of sounds with both events in the caption's order, from noises that no training saw; 95% interval "
    "over seeds and sounds",
    "swapped": "share with both events in the reverse order",
    "present": "share with both events, in any order",
    "win rate": "of these sounds' rewards against those of the start's from the same noise, ties half",
    "distance": "Frechet distance to real sounds in the log-mel spectrograms of both, mean over seeds",
    "accuracy": "share of held-out pairs whose chosen sound gained more likelihood than the rejected, ties half",
    "drift": "change of the chosen sounds' denoising error on held-out pairs, as a share of the start's",
}


def print_report(results: Results) -> None:
    """Print table and conclusions."""
    print_findings(STATEMENT, _table(results), COLUMNS, _counts(results), conclusions(results))


def write_grid(path: Path, results: Results) -> Path:
    """Write the first seed's sounds as mel spectrograms, a caption a row: the start beside the others, by one noise."""
    contact_sheet(CAPTIONS, _shown(results)).save(path)
    return path


def write_sounds(folder: Path, results: Results) -> Path:
    """Write the same sounds as WAV files, those of one noise beside each other by name."""
    for title, sounds in _shown(results).items():
        for caption, sound in zip(CAPTIONS, sounds, strict=True):
            stem = f"{caption} - {title}".replace(" ", "-")
            write_wav(sound, folder / f"{stem}.wav", "PCM_16" if peak_of(sound) <= 1 else "FLOAT")
    return folder


def write_results(path: Path, results: Results, seconds: float) -> None:
    """Everything that is printed, and the same for every seed alone, as JSON."""
    content = {
        "preference": STATEMENT,
        "seeds": [result.learned.seed for result in results.seeds],
        "seconds": seconds,
        "sounds_a_caption": results.task.plan.sounds,
        "pairs": results.task.plan.pairs,
        "held_out": results.task.plan.held_out,
        "policies": {title: _measured(results, title) for title in results.titles},
        "conclusions": conclusions(results),
        "models": results.models(),
    }
    write_json(content, path)


def _shown(results: Results) -> dict[str, list[Any]]:
    titles = [START, IMITATION, *(TITLES[method] for method in results.methods)]
    return {title: results.seeds[0].measured[title].shown for title in titles}


def _table(results: Results) -> Table:
    rows = {}
    for title in results.titles:
        estimates = {quantity: Estimate.of(results.by_picture(title, quantity)) for quantity in BY_SOUND}
        means = results.pair_means(title)
        rows[title] = [
            str(estimates["reward"]),
            f"{estimates['swapped'].mean:.2f}",
            f"{estimates['present'].mean:.2f}",
            str(estimates["wins"]),
            f"{fmean(results.distances(title)):.2f}",
            f"{means['accuracy']:.2f}",
            f"{means['drift']:+.0%}",
        ]
    return report_table(tuple(COLUMNS), rows)


def _counts(results: Results) -> str:
    plan = results.task.plan
    seeds = ", ".join(str(result.learned.seed) for result in results.seeds)
    return (
        f"Seeds {seeds}. Measured on {len(CAPTIONS) * plan.sounds} sounds a seed, {plan.sounds} of each caption. The "
        f"start learned from {plan.captioned} generated sounds of one event or two, whose order is the caption's "
        f"{plan.right:.0%} of the time. Trained on {plan.pairs} pairs of generated sounds, of each caption the right "
        f"order (chosen) and the reverse (rejected); accuracy and drift from {plan.held_out} pairs held out a seed. "
        "Real sounds have reward 1."
    )


def _measured(results: Results, title: str) -> dict[str, Any]:
    by_sound = {quantity: estimates_by_seed(results.by_picture(title, quantity)) for quantity in BY_SOUND}
    distances: Sequence[float] = results.distances(title)
    return {
        **by_sound,
        **results.pair_means(title),
        "distance": {"mean": fmean(distances), "by_seed": distances},
        "warnings": results.warnings(title),
    }
