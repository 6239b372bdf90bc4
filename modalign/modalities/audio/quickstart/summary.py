"""All seeds together: differences between policies, and what they allow one to say."""

from collections.abc import Sequence
from statistics import fmean

from modalign.modalities.audio.quickstart.experiment import Task
from modalign.modalities.audio.quickstart.measurement import Measured
from modalign.modalities.audio.quickstart.plan import TITLES
from modalign.modalities.audio.quickstart.preference import Pair
from modalign.modalities.quickstart.conclusions import CHANGED, accuracy_caveat, beside_controls
from modalign.modalities.quickstart.estimates import Estimate
from modalign.modalities.quickstart.policies import IMITATION, START
from modalign.modalities.quickstart.results import MethodResults

BY_SOUND = ("reward", "swapped", "present", "wins")


class Results(MethodResults[Task, Sequence[Pair], Measured]):
    """What all seeds gave."""

    def distances(self, policy: str) -> list[float]:
        """Each seed's distance to generated sounds."""
        return [seed.measured[policy].distance for seed in self.seeds]

    def warnings(self, policy: str) -> list[str]:
        """The first warning of each seed's run that warned."""
        return [each.warnings[0] for seed in self.seeds if (each := seed.measured[policy]).warnings]


def conclusions(results: Results) -> list[str]:
    """What the numbers say of every method: its reward against its controls, the verdict, what it cost, warnings."""
    lines = []
    for title in (TITLES[method] for method in results.methods):
        lines += beside_controls(title, results.beside_controls(title, "reward"))
        lines.append(_cost(results, title))
    lines += [line for policy in results.trained if (line := _warned(results, policy.title))]
    accuracies = {policy.title: results.pair_means(policy.title)["accuracy"] for policy in results.trained}
    return [*lines, accuracy_caveat(accuracies, "sounds"), _imitation(results)]


def _cost(results: Results, title: str) -> str:
    present = Estimate.of(results.difference(title, START, "present"))
    far, farther = (fmean(results.distances(policy)) for policy in (START, title))
    means = results.pair_means(title)
    return (
        f"What {title} cost: sounds in which both events are heard, in any order, {_became(present)}; the distance to "
        f"real sounds went from {far:.2f} to {farther:.2f}; the chosen sounds' denoising error changed by "
        f"{means['drift']:+.0%}, while implicit accuracy reads {means['accuracy']:.2f}."
    )


def _became(change: Estimate) -> str:
    became = {1: "became more", 0: CHANGED[0], -1: "became fewer"}[change.sign]
    return f"{became} ({change.text(signed=True)})"


def _warned(results: Results, title: str) -> str:
    """What a policy's runs warned of themselves; empty where they did not."""
    warnings = results.warnings(title)
    if not warnings:
        return ""
    return f"The run of {title} itself warned, on {len(warnings)} of {len(results.seeds)} seeds: {warnings[0]}"


def _imitation(results: Results) -> str:
    """What the comparison with SFT on the chosen allows one to claim of preference training."""
    titles = [TITLES[method] for method in results.methods]
    above = [title for title in titles if Estimate.of(results.difference(title, IMITATION, "reward")).sign > 0]
    if not above:
        return (
            f"{IMITATION} does about as well here or better: the chosen sounds are clean and in the right order, so "
            "imitating them is enough. These numbers do not say that preference training is better."
        )
    return (
        f"{' and '.join(above)} came out above {IMITATION} here. The chosen sounds are clean and in the right order, "
        "so imitating them for longer may be enough; of other models and data, these numbers say nothing."
    )
