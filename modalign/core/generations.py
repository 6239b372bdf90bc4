"""A folder of responses to prompts by one or more policies, written as they come and completed when it is cut off."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modalign.core.claims import check_claim, claim
from modalign.core.content import content_hash
from modalign.core.errors import RowError, UserError
from modalign.core.modality import Modality
from modalign.core.response_files import kept_response, line, mend_rows, read_rows, response_of
from modalign.core.reward import Reward

ROWS = "generations.jsonl"
SHEET = "contact_sheet.png"
AT_ONCE = 16
"""Prompts that are sampled before their rows are written."""
SHEET_ROWS = 24
"""Prompts that a contact sheet shows."""


@dataclass(frozen=True)
class Request:
    """What is to be generated.

    Attributes:
        modality: Samples and writes.
        prompts: In the modality's own terms.
        n: Responses a prompt, of each policy.
        seed: Of the samples; a prompt's do not depend on the other prompts.
        options: For the modality's `sample`.
        rewards: What each response is measured by.
        source: Which models and which rewards, with all their options, as plain values; a folder is only continued by
            the same.
    """

    modality: Modality
    prompts: Sequence[Any]
    n: int = 1
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    rewards: Mapping[str, Reward] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """All that decides what is generated, as plain values."""
        settings = {
            **self.source,
            "prompts": f"{len(self.prompts)}, hash {content_hash(list(self.prompts))}",
            "n": self.n,
            "seed": self.seed,
            "sampling": dict(self.options),
            "rewards": sorted(self.rewards),
        }
        plain: dict[str, Any] = json.loads(json.dumps(settings, default=str))
        return plain


class Generations:
    """The folder.

    `generations.jsonl` has a row a response: prompt, its number, policy, seed, draw, the response or its file, rewards.

    Args:
        folder: New, or one that the same request has begun.
        request: What goes in.

    Raises:
        UserError: Something else is in the folder.
    """

    def __init__(self, folder: Path, request: Request) -> None:
        self.folder = folder
        self.request = request
        self._settings = request.settings()
        check_claim(folder, self._settings, "generations")
        mend_rows(folder / ROWS)
        self.rows = read_rows(folder / ROWS)

    def missing(self, policy: str) -> list[int]:
        """The numbers of the prompts that a policy has not answered in full."""
        done = {(row["number"], row["draw"]) for row in self.rows if row["policy"] == policy}
        draws = range(self.request.n)
        return [k for k in range(len(self.request.prompts)) if any((k, draw) not in done for draw in draws)]

    def add(self, policy: str, model: nn.Module) -> None:
        """Have a policy answer the prompts it has not answered yet."""
        numbers = self.missing(policy)
        for start in range(0, len(numbers), AT_ONCE):
            self._add(policy, model, numbers[start : start + AT_ONCE])

    def contact_sheet(self) -> Path | None:
        """Write the first responses to the first prompts side by side; None where the modality makes no such sheet.

        Raises:
            UserError: A file that a row names is gone.
        """
        prompts = self.request.prompts[:SHEET_ROWS]
        first = [row for row in sorted(self.rows, key=lambda row: row["number"]) if row["draw"] == 0]
        policies = dict.fromkeys(row["policy"] for row in self.rows)
        columns = {
            policy: [response_of(row, self.folder) for row in first if row["policy"] == policy][: len(prompts)]
            for policy in policies
        }
        try:
            sheet = self.request.modality.contact_sheet(prompts, columns)
        except RowError as error:
            raise UserError(f"{self.folder / ROWS} names a file that is gone: {error}", "Generate anew.") from error
        if sheet is None:
            return None
        sheet.save(self.folder / SHEET)
        return self.folder / SHEET

    def mean_rewards(self) -> dict[str, dict[str, float]]:
        """For each reward, each policy's mean."""
        means: dict[str, dict[str, float]] = {}
        for reward in self.request.rewards:
            for policy in dict.fromkeys(row["policy"] for row in self.rows):
                values = [row["rewards"][reward] for row in self.rows if row["policy"] == policy]
                means.setdefault(reward, {})[policy] = sum(values) / len(values)
        return means

    def _add(self, policy: str, model: nn.Module, numbers: Sequence[int]) -> None:
        request = self.request
        prompts = [request.prompts[number] for number in numbers]
        with torch.no_grad():
            drawn = request.modality.sample(model, prompts, n=request.n, seed=request.seed, **request.options)
        flat = [(k, draw) for k in range(len(numbers)) for draw in range(request.n)]
        scores = {
            name: reward.score([prompts[k] for k, _ in flat], [drawn[k][draw] for k, draw in flat]).tolist()
            for name, reward in request.rewards.items()
        }
        claim(self.folder, self._settings, "generations")
        known = {(row["number"], row["draw"]) for row in self.rows if row["policy"] == policy}
        for place, (k, draw) in enumerate(flat):
            if (numbers[k], draw) not in known:
                self._write(policy, numbers[k], draw, drawn[k][draw], {name: v[place] for name, v in scores.items()})

    def _write(self, policy: str, number: int, draw: int, response: Any, rewards: Mapping[str, float]) -> None:
        stem = self.folder / policy / f"{number:05d}-{draw:02d}"
        row = {
            "number": number,
            "prompt": self.request.prompts[number],
            "policy": policy,
            "seed": self.request.seed,
            "draw": draw,
            **kept_response(self.request.modality, response, stem, self.folder),
            **({"rewards": dict(rewards)} if rewards else {}),
        }
        with (self.folder / ROWS).open("a", encoding="utf-8") as file:
            file.write(line(row))
        self.rows.append(row)
