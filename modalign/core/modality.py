"""The contract of a modality: everything the loop has to know about text, images or sound."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from modalign.core.batch import Candidate, Comparison, Example, Likelihood, PreferenceBatch
from modalign.core.errors import UserError
from modalign.core.objectives.base import Needs, Objective


class Modality(ABC):
    """Loads a policy, encodes comparisons for it and says how likely it finds them.

    A modality holds settings and light processors (tokenizer, image processor), never the policy itself, so that data
    workers can hold one. The constructor must not load weights.

    Attributes:
        name: The short name it is registered under.
        provides: Extra likelihood quantities it can compute (see `Needs.extra`).
        extra_roles: Cells it can add on an objective's request.
        units: What sizes count, for the logs.
        has_lengths: Whether sizes differ and cells can be cut, so that lengths are worth a log.
        supports_adapters: Whether `adapter_off` works for policies that carry an adapter.
        encodes_in_threads: Whether several threads may call `encode` at once, and gain by it.
        reads: Modalities whose data formats it takes too, beside those of its own name: `text`, where responses are
            strings.
        tolerated_fall: By which share of its start the log-likelihood of the chosen may fall until a run that tells
            chosen from rejected is told that it ruins the policy; None where larger falls are usual and do little
            harm, as of texts.
    """

    name: ClassVar[str]
    provides: ClassVar[frozenset[str]] = frozenset()
    extra_roles: ClassVar[frozenset[str]] = frozenset()
    units: ClassVar[str] = "tokens"
    has_lengths: ClassVar[bool] = True
    supports_adapters: ClassVar[bool] = False
    encodes_in_threads: ClassVar[bool] = False
    reads: ClassVar[frozenset[str]] = frozenset()
    tolerated_fall: ClassVar[float | None] = None

    @abstractmethod
    def load(self, model: str | None = None) -> nn.Module:
        """Build the policy on the CPU, its trainable parameters marked by `requires_grad`, in training mode.

        Args:
            model: Another hub id or folder to load in the same way; None for the one this modality was given.

        Raises:
            UserError: The model cannot be found or does not fit this modality.
        """

    @abstractmethod
    def encode(self, comparison: Comparison) -> Example:
        """Encode one comparison. A pure function of the comparison: called in data workers, and again on every epoch.

        Raises:
            RowError: The comparison cannot be used; `source` and `row` are filled in by the caller.
        """

    def extra_candidate(self, comparison: Comparison, role: str, other: Comparison | None) -> Candidate:
        """The cell of one of `extra_roles` that goes with a comparison: its response, and the context it is judged in.

        Args:
            comparison: As its format parsed it.
            role: One of `extra_roles`.
            other: Another row, which differs in `other_key`; None unless `needs_other_row` asks for one.

        Raises:
            RowError: The comparison has none.
        """
        raise self._missing(f"cells of the role {role!r}")

    def needs_other_row(self, roles: Sequence[str]) -> bool:
        """Whether `extra_candidate` must be handed another row to make some of these roles."""
        return False

    def other_key(self, comparison: Comparison) -> Any:
        """What a row and its other row must differ in: the prompt, or whatever part of it is taken from the other.

        Returns:
            Anything `content_hash` takes; None where the row cannot be another's other row.
        """
        return comparison.prompt

    @property
    def draw_cycle(self) -> int | None:
        """After how many epochs a row's draws repeat: 1 where nothing is drawn, None where every epoch has its own.

        What a likelihood draws, such as a diffusion model's timestep and noise, must be a pure function of the run's
        seed, the batch's `epoch` modulo this cycle, and the row's `index`.
        """
        return 1

    def draw_key(self, index: int, epoch: int) -> tuple[int | str, ...]:
        """What the draws of a row depend on; part of the key of a cached reference."""
        return ()

    def prepare(self, comparisons: Iterable[Comparison], device: torch.device, only_tell: bool = False) -> bool:
        """Compute ahead what frozen parts make of the data, such as latents; called before `load`'s policy is used.

        What it will cost is printed before it begins.

        Args:
            comparisons: Everything that will be trained and evaluated on, in the order of the data; may be iterated
                more than once.
            device: Where to compute.
            only_tell: Print the cost, and compute nothing.

        Returns:
            False where nothing is computed ahead, whatever the data.

        Raises:
            RowError: A comparison cannot be used; the message names its source and row.
        """
        return False

    def start_notes(self, objective: Objective) -> Sequence[str]:
        """What a user should know of how an objective's options work out in this modality; printed as a run starts."""
        return ()

    @abstractmethod
    def collate_cells(self, cells: Sequence[Any]) -> dict[str, Any]:
        """Turn the encodings of N cells into the tensors that `likelihood` reads from `batch.inputs`."""

    def encode_batch(self, batch: PreferenceBatch) -> PreferenceBatch:
        """Compute what does not depend on the model, such as frozen encoders' outputs: once for policy and reference.

        `likelihood` takes a batch before and after it, and finds the same to the bit.

        Args:
            batch: On the model's device; it stays as it is.
        """
        return batch

    @abstractmethod
    def likelihood(self, model: nn.Module, batch: PreferenceBatch, needs: Needs) -> Likelihood:
        """How likely `model` finds each cell, reduced in float32 whatever the model's dtype.

        Must not depend on how the batch is padded, ordered or split.

        Args:
            model: The policy or a reference that `load` built.
            batch: On the model's device.
            needs: What to compute beyond `logps` and `sizes`, and which roles need no gradient.
        """

    def collate(self, examples: Sequence[Example], index: Sequence[int], epoch: int = 0) -> PreferenceBatch:
        """Lay B examples out as a batch; see `PreferenceBatch` for the layout.

        Args:
            examples: Of any mix of roles.
            index: The rows' numbers in the data set.
            epoch: The pass over the data.
        """
        roles, columns = _columns([example.comparison.roles for example in examples])
        shape = (len(examples), len(roles))
        scores, sizes = torch.full(shape, torch.nan), torch.zeros(shape)
        mask = torch.zeros(shape, dtype=torch.bool)
        for b, example in enumerate(examples):
            for k, candidate, size in zip(columns[b], example.comparison.candidates, example.sizes, strict=True):
                mask[b, k] = True
                sizes[b, k] = size
                if candidate.score is not None:
                    scores[b, k] = candidate.score
        cells = [
            cell
            for example, places in zip(examples, columns, strict=True)
            for _, cell in sorted(zip(places, example.cells, strict=True), key=lambda placed: placed[0])
        ]
        return PreferenceBatch(
            inputs=self.collate_cells(cells),
            roles=roles,
            scores=scores,
            sizes=sizes,
            mask=mask,
            weight=torch.tensor([example.comparison.weight for example in examples], dtype=torch.float32),
            index=torch.tensor(list(index)),
            truncated=torch.tensor([example.truncated for example in examples]),
            epoch=epoch,
        )

    def fingerprint(self) -> str:
        """Whatever beside weights and encoded row changes a log-probability; part of the key of a cached reference."""
        return repr(sorted((key, repr(value)) for key, value in vars(self).items() if not key.startswith("_")))

    def adapter_off(self, model: nn.Module) -> AbstractContextManager[Any]:
        """A context in which `model` computes without its adapter and without dropout."""
        raise self._missing("switching an adapter off")

    def has_adapter(self, model: nn.Module) -> bool:
        """Whether `adapter_off` would show the model as it was before training."""
        return False

    def prompt_of(self, row: Mapping[str, Any], column: str) -> Any:
        """The prompt in a row of a file of prompts, with what belongs to it in other columns, such as images.

        Args:
            row: As it was read; paths in what is returned are `Media`.
            column: Where the prompt is; it is not empty.

        Raises:
            RowError: It is no prompt.
        """
        return row[column]

    def sample(
        self, model: nn.Module, prompts: Sequence[Any], n: int = 1, seed: int = 0, **options: Any
    ) -> list[list[Any]]:
        """Generate `n` candidates for each prompt, the same ones for the same seed and prompt.

        Returns:
            For each prompt, `n` responses in the form a `Candidate` holds.
        """
        raise self._missing("sampling")

    def check_sampling(self, options: Mapping[str, Any]) -> None:
        """Refuse options that `sample` would refuse, before anything is loaded.

        Raises:
            UserError: The modality does not sample, or an option is unknown or out of its range.
        """
        if type(self).sample is Modality.sample:
            raise self._missing("sampling")

    def export(self, model: nn.Module, folder: Path, card: str, **options: Any) -> None:
        """Write an ordinary folder (transformers, diffusers, peft) that its library loads, with `card` as README.md.

        Args:
            model: The policy; it stays as it is.
            folder: Must not exist, unless the option `overwrite` is true.
            card: Markdown.
            options: `overwrite`, and the modality's own.

        Raises:
            UserError: The folder exists or cannot be written, or an option is unknown.
        """
        raise self._missing("export")

    def check_export(self, options: Mapping[str, Any]) -> None:  # noqa: B027
        """Refuse options that `export` would refuse, before training.

        Raises:
            UserError: An option is unknown, or cannot be had for this policy.
        """

    def library(self, options: Mapping[str, Any]) -> str:
        """The name of the library that loads what `export` writes with these options, for the model card."""
        return ""

    def save(self, response: Any, stem: Path) -> Path | None:
        """Write a response as a file (`stem` with a suffix: PNG, WAV); None where it is text, which needs no file.

        Missing folders are made; an existing file is replaced.
        """
        return None

    def sound(self, response: Any) -> tuple[Tensor, int] | None:
        """What a response sounds like, for loggers that play sounds; None where it is no sound.

        Args:
            response: As `sample` returned it or as the `Media` of its file.

        Returns:
            `(channels, frames)` float samples, of which 1 is full scale, and how many frames make a second.

        Raises:
            RowError: The file is gone or damaged.
        """
        return None

    def contact_sheet(self, prompts: Sequence[Any], columns: Mapping[str, Sequence[Any]]) -> Any:
        """A PIL image of responses side by side, a row a prompt and a named column a policy; None where none is made.

        Args:
            prompts: One a row.
            columns: For each name, one response a prompt, as `sample` returned it or as the `Media` of its file.
        """
        return None

    def preview(self, prompt: Any, response: Any) -> str:
        """A line or two a person can read, for sample tables and logs."""
        return f"{prompt!s}\n{response!s}"

    def _missing(self, what: str) -> UserError:
        return UserError(
            f"The modality {self.name!r} has no {what}.", "Choose a modality that has it, or add it there."
        )


def _columns(rows: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], list[list[int]]]:
    """Columns for rows of roles, and each row's places in them: the n-th candidate of a role takes its n-th column."""
    counts: dict[str, int] = {}
    for row in rows:
        for role in row:
            counts[role] = max(counts.get(role, 0), row.count(role))
    roles = tuple(role for role, count in counts.items() for _ in range(count))
    places = []
    for row in rows:
        used: dict[str, int] = {}
        place = []
        for role in row:
            place.append(roles.index(role) + used.get(role, 0))
            used[role] = used.get(role, 0) + 1
        places.append(place)
    return roles, places
