"""What the policy generates, as training goes on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from modalign.core.callbacks.pictures import log_picture
from modalign.core.callbacks.sounds import log_sounds
from modalign.core.errors import ConfigError, RowError
from modalign.core.keys import run_seed
from modalign.core.modality import Modality
from modalign.core.response_files import kept_response, line, read_rows, response_of, write_rows
from modalign.core.reward import Reward
from modalign.core.sampler import Sampler

BASE = "base"


class SampleLog(Callback):
    """At every validation, generates for the same prompts, beside what the policy made of them before training.

    Writes `samples/step-N.jsonl`, pictures and sounds as files in `samples/step-N/`, and where the modality makes one a
    contact sheet `samples/step-N.png`, which loggers get too, as they get sounds. Logs mean rewards.

    Args:
        sampler: How to generate.
        rewards: What to measure the samples by, under `val/samples/NAME`, those before training under
            `val/samples/base/NAME`.
        prompts: How many of the validation data's first different prompts.
        base: Whether to sample once before training: `samples/base.jsonl`.
    """

    def __init__(
        self, sampler: Sampler, rewards: dict[str, Reward] | None = None, prompts: int = 16, base: bool = True
    ) -> None:
        if prompts < 1:
            raise ConfigError(f"SampleLog: prompts is {prompts}.", "Give at least 1.")
        if BASE in (rewards or {}):
            raise ConfigError("SampleLog: a reward cannot be called 'base'.", "Choose another name.")
        self.sampler = sampler
        self.rewards = rewards or {}
        self.prompts = prompts
        self.base = base
        self._base: list[dict[str, Any]] = []
        self._base_played = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not hasattr(getattr(trainer, "datamodule", None), "comparisons"):
            raise ConfigError("SampleLog reads its prompts from a PreferenceDataModule.", "Pass one to the trainer.")
        self.check(pl_module.modality)

    def check(self, modality: Modality) -> None:
        """Refuse a sampler or a reward that the modality does not go with.

        Raises:
            UserError: Naming the option at fault.
        """
        self.sampler.check(modality)
        for reward in self.rewards.values():
            reward.check(modality)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sample the policy as it was loaded; a continued run finds what it sampled when it began.

        Raises:
            UserError: A reward does not judge one of the prompts, which would else be told after an epoch.
        """
        if not trainer.enable_validation or not (self.base or self.rewards):
            return
        prompts = self._prompts(trainer)
        for reward in self.rewards.values():
            reward.check_prompts(prompts)
        if not self.base:
            return
        if trainer.global_step == 0:
            self._base = self._draw(trainer, pl_module, prompts, BASE)
            return
        kept = read_rows(_folder(trainer) / f"{BASE}.jsonl")
        if [line({"prompt": prompt}) for prompt in prompts] == [line({"prompt": row["prompt"]}) for row in kept]:
            self._base = kept
        else:
            rank_zero_only(print)(
                f"SampleLog: {_folder(trainer)} holds no samples of these prompts from before training; none are shown"
            )

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        prompts = self._prompts(trainer)
        name = f"step-{trainer.global_step:07d}"
        rows = self._draw(trainer, pl_module, prompts, name)
        means = {f"val/samples/{reward}": _mean(rows, reward) for reward in self.rewards}
        if self._base:
            # A continued run may measure by more than the samples were measured by when it began.
            known = [reward for reward in self.rewards if reward in self._base[0]]
            means |= {f"val/samples/{BASE}/{reward}": _mean(self._base, reward) for reward in known}
        pl_module.log_dict(means, batch_size=1, logger=False)
        for logger in trainer.loggers if means else ():
            logger.log_metrics(means, step=trainer.global_step)  # Lightning's own would be of the step before
        self._show(trainer, pl_module, prompts, name, rows)

    def _draw(
        self, trainer: Trainer, pl_module: LightningModule, prompts: Sequence[Any], name: str
    ) -> list[dict[str, Any]]:
        """A row for each prompt, with its response or the file of it and its rewards; rank 0 writes them."""
        modality, folder = pl_module.modality, _folder(trainer)
        with torch.no_grad():
            drawn = self.sampler.sample(modality, pl_module.policy, prompts, seed=run_seed())
        scores = {name: reward.score(prompts, drawn).tolist() for name, reward in self.rewards.items()}
        rows: list[dict[str, Any]] = []
        for number, (prompt, response) in enumerate(zip(prompts, drawn, strict=True)):
            kept = {}
            if trainer.is_global_zero:
                kept = kept_response(modality, response, folder / name / f"{number:03d}", folder)
            rows.append({"prompt": prompt, **kept, **{reward: values[number] for reward, values in scores.items()}})
        if trainer.is_global_zero:
            write_rows(folder / f"{name}.jsonl", rows)
        return rows

    @rank_zero_only
    def _show(
        self, trainer: Trainer, pl_module: LightningModule, prompts: Sequence[Any], name: str, rows: Sequence[Any]
    ) -> None:
        folder = _folder(trainer)
        columns = {BASE: self._base} if self._base else {}
        shown = {title: [response_of(row, folder) for row in each] for title, each in {**columns, name: rows}.items()}
        try:
            self._play(trainer, pl_module.modality, {BASE: shown.get(BASE, []), "policy": shown[name]})
            sheet = pl_module.modality.contact_sheet(prompts, shown)
        except RowError as error:
            raise ConfigError(
                f"SampleLog: samples from before training are gone: {error}", "Set base: false."
            ) from error
        if sheet is not None:
            sheet.save(folder / f"{name}.png")
            log_picture(trainer.loggers, "samples", sheet, trainer.global_step)

    def _play(self, trainer: Trainer, modality: Modality, shown: Mapping[str, Sequence[Any]]) -> None:
        """Hand loggers what can be heard; what came before training once, beside the first of the policy's."""
        sounds = {
            f"{number:03d}/{title}": sound
            for title, responses in shown.items()
            if title != BASE or not self._base_played
            for number, response in enumerate(responses)
            if (sound := modality.sound(response)) is not None
        }
        self._base_played = True
        log_sounds(trainer.loggers, "samples", dict(sorted(sounds.items())), trainer.global_step)

    def _prompts(self, trainer: Trainer) -> list[Any]:
        found: list[Any] = []
        for comparison in trainer.datamodule.comparisons("validation"):
            if comparison.prompt not in found:
                found.append(comparison.prompt)
            if len(found) == self.prompts:
                break
        return found


def _folder(trainer: Trainer) -> Path:
    return Path(trainer.default_root_dir) / "samples"


def _mean(rows: Sequence[Mapping[str, Any]], reward: str) -> float:
    return float(torch.tensor([row[reward] for row in rows], dtype=torch.float64).mean())
