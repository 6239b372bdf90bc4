"""A mean over everything seen so far, which survives a restart and is the same on every rank."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from modalign.core.objectives.base import distributed_sums


class RunningMean(nn.Module):
    """The weighted mean of all values given to `update`, on all ranks.

    Attributes:
        mean: Scalar; 0 before the first update.
        weight: Scalar, the weights so far.
    """

    mean: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("weight", torch.zeros(()))

    @torch.no_grad()
    def update(self, values: Tensor, weight: Tensor) -> None:
        """Take in `(B,)` values with `(B,)` weights. Every rank must call this, or none."""
        total, added = distributed_sums(values, weight).unbind()
        self.weight += added
        self.mean += (total - added * self.mean) / self.weight.clamp(min=torch.finfo(self.weight.dtype).tiny)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "RunningMean":
        # A run in bfloat16 casts every buffer, and a count of rows in bfloat16 stops growing at 256.
        exact = dict(self.named_buffers(recurse=False))
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in exact.items():
            cast = getattr(self, name)
            setattr(self, name, buffer.to(cast.device, torch.promote_types(buffer.dtype, cast.dtype)))
        return self
