"""The exponential loss of the margin: the member of GPO's family (arXiv 2402.05749) that boosting uses."""

from modalign import Likelihood, Objective, PreferenceBatch
from modalign.core.objectives.base import Feedback, ObjectiveOutput, Term, pair, pair_metrics


class Exponential(Objective):
    """`exp(-beta * h)`, with `h` the margin of the log-ratios to the reference.

    Args:
        beta: The strength of the pull towards the reference.
    """

    feedback = Feedback.PAIRWISE

    def __init__(self, beta: float = 0.1) -> None:
        super().__init__()
        self.beta = beta

    @property
    def start_loss(self) -> float:
        return 1.0

    def forward(self, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch) -> ObjectiveOutput:
        assert reference is not None
        rewards = self.beta * (policy.logps - reference.logps)
        chosen, rejected = pair(rewards, batch)
        return ObjectiveOutput((Term((rejected - chosen).exp()),), pair_metrics(rewards, policy, batch))
