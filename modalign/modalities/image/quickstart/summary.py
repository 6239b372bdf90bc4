"""All seeds together: differences between policies, and what they allow one to say."""

from statistics import fmean

from modalign.modalities.image.quickstart.experiment import Task
from modalign.modalities.image.quickstart.measurement import Measured
from modalign.modalities.image.quickstart.plan import TITLES
from modalign.modalities.image.quickstart.preference import Preferences
from modalign.modalities.quickstart.conclusions import CHANGED, accuracy_caveat, beside_controls
from modalign.modalities.quickstart.estimates import Estimate
from modalign.modalities.quickstart.policies import START
from modalign.modalities.quickstart.results import MethodResults

BY_PICTURE = ("reward", "wins", "fidelity", "contrast")
PLACES = 3


class Results(MethodResults[Task, Preferences, Measured]):
    """What all seeds gave."""

    def distances(self, policy: str) -> list[float]:
        """Each seed's distance to the real digits."""
        return [seed.measured[policy].distance for seed in self.seeds]


def conclusions(results: Results) -> list[str]:
    """What the numbers say of every method: its reward against its controls, the verdict, and what it cost."""
    lines = []
    for title in (TITLES[method] for method in results.methods):
        lines += beside_controls(title, results.beside_controls(title, "reward"), places=PLACES)
        lines.append(_cost(results, title))
    accuracies = {policy.title: results.pair_means(policy.title)["accuracy"] for policy in results.trained}
    return [*lines, accuracy_caveat(accuracies, "pictures")]


def _cost(results: Results, title: str) -> str:
    fidelity = Estimate.of(results.difference(title, START, "fidelity"))
    far, farther = (fmean(results.distances(policy)) for policy in (START, title))
    flat, flatter = (results.by_picture(policy, "contrast").mean().item() for policy in (START, title))
    drift = results.pair_means(title)["drift"]
    return (
        f"What {title} cost: fidelity {CHANGED[fidelity.sign]} ({fidelity.text(signed=True)}); the distance to the "
        f"real digits went from {far:.2f} to {farther:.2f}, contrast from {flat:.2f} to {flatter:.2f}; the chosen "
        f"pictures' denoising error changed by {drift:+.1%}."
    )
