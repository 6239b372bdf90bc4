"""DPO with a price on length."""

from torch import Tensor

from modalign.core.objectives.options import not_negative
from modalign.core.objectives.pairwise import Dpo


class LcDpo(Dpo):
    """Length-regularised DPO (R-DPO, 2403.19159; LC-DPO in CheXalign, 2410.07025).

    `L = -(1 - e) log s(x) - e log s(-x)` with `x = beta h + alpha (|y_w| - |y_l|)`, where `|y|` counts tokens.

    A longer winner has a head start, so that being longer teaches less. With smoothing, `x` changes its sign as a
    whole; CheXalign's released code keeps that of the lengths there. The implicit rewards in the logs are `beta m`,
    without the price.

    Args:
        beta: The strength of the pull towards the reference, above 0.
        alpha: The price of a token, at least 0: 0.05 in CheXalign; 0.005 to 0.01 on HH and 0.2 to 0.5 on TL;DR in the
            paper.
        label_smoothing: `e`, the probability that a label is wrong: at least 0, below 0.5.
    """

    def __init__(self, beta: float = 0.1, alpha: float = 0.05, label_smoothing: float = 0.0) -> None:
        super().__init__(beta, label_smoothing)
        self.alpha = not_negative("alpha", alpha)

    @property
    def start_loss(self) -> float | None:
        return super().start_loss if self.alpha == 0 else None

    def normalize(self, ratios: Tensor, sizes: Tensor) -> Tensor:
        """The log-ratios with the price of their length, which the loss multiplies by beta."""
        return ratios + self.alpha / self.beta * sizes.to(ratios.dtype)
