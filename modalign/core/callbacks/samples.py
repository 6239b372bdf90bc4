"""What the policy generates, as training goes on."""

import json
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from modalign.core.errors import ConfigError
from modalign.core.keys import run_seed
from modalign.core.reward import Reward
from modalign.core.sampler import Sampler


class SampleLog(Callback):
    """At every validation, generates for the same prompts, writes `samples/step-N.jsonl` and logs mean rewards.

    Args:
        sampler: How to generate.
        rewards: What to measure the samples by, under `val/samples/NAME`.
        prompts: How many of the validation data's first different prompts.
    """

    def __init__(self, sampler: Sampler, rewards: dict[str, Reward] | None = None, prompts: int = 16) -> None:
        if prompts < 1:
            raise ConfigError(f"SampleLog: prompts is {prompts}.", "Give at least 1.")
        self.sampler = sampler
        self.rewards = rewards or {}
        self.prompts = prompts

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not hasattr(getattr(trainer, "datamodule", None), "comparisons"):
            raise ConfigError("SampleLog reads its prompts from a PreferenceDataModule.", "Pass one to the trainer.")
        modality = pl_module.modality.name
        for name, reward in self.rewards.items():
            if modality not in reward.modalities:
                raise ConfigError(
                    f"SampleLog: the reward {name!r} judges {', '.join(sorted(reward.modalities))}, not {modality}.",
                    "Choose a reward for this modality.",
                )

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        prompts = self._prompts(trainer)
        with torch.no_grad():
            drawn = self.sampler.sample(pl_module.modality, pl_module.policy, prompts, seed=run_seed())
        scores = {name: reward.score(prompts, drawn) for name, reward in self.rewards.items()}
        pl_module.log_dict(
            {f"val/samples/{name}": values.mean().item() for name, values in scores.items()}, batch_size=1
        )
        if trainer.is_global_zero:
            rows = [
                {"prompt": prompt, "response": response, **{name: values[i].item() for name, values in scores.items()}}
                for i, (prompt, response) in enumerate(zip(prompts, drawn, strict=True))
            ]
            folder = Path(trainer.default_root_dir) / "samples"
            folder.mkdir(parents=True, exist_ok=True)
            text = "".join(json.dumps(row, default=str, ensure_ascii=False) + "\n" for row in rows)
            (folder / f"step-{trainer.global_step:07d}.jsonl").write_text(text)

    def _prompts(self, trainer: Trainer) -> list[object]:
        found: list[object] = []
        for comparison in trainer.datamodule.comparisons("validation"):
            if comparison.prompt not in found:
                found.append(comparison.prompt)
            if len(found) == self.prompts:
                break
        return found
