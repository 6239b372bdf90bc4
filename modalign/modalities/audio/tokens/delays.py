"""The delay pattern of codec tokens: each codebook begins some steps after the first (Copet et al. 2023, MusicGen,
arXiv 2306.05284, section 2.2), so that one step predicts one token of every codebook."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DelayPattern:
    """How frames of K codes become a sequence of steps.

    Of codebook `k`, frame `f` stands at step `1 + f + delays[k]`; step 0 is what the sequence starts from.

    Attributes:
        delays: K numbers of steps.
        before: What stands where a codebook has not begun, and at step 0.
        after: What stands where it has ended.
        end: What a codebook ends in, predicted like its frames; None where a sequence has the length that it is asked
            for.
    """

    delays: tuple[int, ...]
    before: int
    after: int
    end: int | None = None

    @property
    def codebooks(self) -> int:
        """K."""
        return len(self.delays)

    @property
    def tail(self) -> int:
        """How many steps a sequence has beyond one a frame."""
        return 1 + max(self.delays) + (self.end is not None)

    def size(self, frames: int, whole: bool) -> int:
        """How many tokens of a sound are scored.

        Args:
            frames: Of the sound.
            whole: Whether it is all of the sound, rather than its beginning.
        """
        if self.end is None:
            return frames * self.codebooks
        if whole:
            return (frames + 1) * self.codebooks
        return sum(max(frames - delay, 0) for delay in self.delays)

    def delayed(self, codes: Tensor, frames: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
        """Sequences of sounds, and which of their tokens are scored.

        A sound that was cut is the beginning of a longer one where the model says itself when a sound ends: it has no
        end, and a codebook has no frames beyond the last step of the one that begins first.

        Args:
            codes: `(N, T, K)`, anything beyond a sound's frames.
            frames: `(N,)`.
            whole: `(N,)` bool, which were not cut.

        Returns:
            `(N, P, K)` tokens, and `(N, P, K)` bool, where they are the sound's own; P is the length of the longest.
        """
        delays = torch.tensor(self.delays, device=codes.device)
        steps = torch.arange(codes.shape[1] + self.tail, device=codes.device)
        frame = (steps[:, None] - 1 - delays).expand(len(codes), -1, -1)
        count = frames[:, None, None]
        scored = (frame >= 0) & (frame < count)
        last = frames + self.tail
        taken = codes.gather(1, frame.clamp(0, max(codes.shape[1] - 1, 0)))
        tokens = torch.where(scored, taken, torch.where(frame < 0, self.before, self.after))
        if self.end is not None:
            ends = (frame == count) & whole[:, None, None]
            tokens, scored = tokens.where(~ends, self.end), scored | ends
            within = whole[:, None] | (steps <= frames[:, None])
            scored = scored & within[..., None]
            tokens = tokens.where(within[..., None], self.after)
            last = last.where(whole, frames + 1)
        longest = int(last.max())
        return tokens[:, :longest], scored[:, :longest]

    def frames_of(self, tokens: Tensor, frames: int) -> Tensor:
        """`(T, K)` codes of one sequence.

        Args:
            tokens: `(P, K)`.
            frames: T.
        """
        columns = [tokens[1 + delay : 1 + delay + frames, k] for k, delay in enumerate(self.delays)]
        return torch.stack(columns, dim=1)
