"""What all modalities of diffusion models share: loading a denoiser, and its likelihood of latents."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from modalign.core.batch import Example, Likelihood, PreferenceBatch
from modalign.core.errors import ConfigError, did_you_mean
from modalign.core.keys import run_seed
from modalign.core.modality import Modality
from modalign.core.objectives.base import Needs
from modalign.modalities.diffusion.cells import drawn_cells
from modalign.modalities.diffusion.draws import RowDraws
from modalign.modalities.diffusion.family import DiffusionFamily
from modalign.modalities.diffusion.likelihood import CleanCells, ErrorSettings, denoising_logps
from modalign.modalities.diffusion.loading import load_denoiser, load_family


class DiffusionModality(Modality):
    """A pipeline's denoiser as the policy, the rest of the pipeline frozen."""

    supports_adapters: ClassVar[bool] = True

    def __init__(self, model: str, errors: ErrorSettings) -> None:
        self.model = model
        self.errors = errors
        self._family: DiffusionFamily | None = None

    @property
    def family(self) -> DiffusionFamily:
        """The frozen parts, loaded when they are first used; they do not travel to data workers."""
        if self._family is None:
            self._family = load_family(self.model)
        return self._family

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_family": None}

    def load(self, model: str | None = None) -> nn.Module:
        return load_denoiser(model or self.model)

    @property
    def draw_cycle(self) -> int | None:
        return None

    def draw_key(self, index: int, epoch: int) -> tuple[int | str, ...]:
        return (run_seed(), epoch % self.draw_cycle if self.draw_cycle else epoch, index)

    def collate(self, examples: Sequence[Example], index: Sequence[int], epoch: int = 0) -> PreferenceBatch:
        return super().collate(drawn_cells(examples, index, epoch), index, epoch)

    def likelihood(self, model: nn.Module, batch: PreferenceBatch, needs: Needs) -> Likelihood:
        for name in sorted(needs.extra - self.provides):
            raise ConfigError(f"The {self.name} modality cannot compute {name!r}.", did_you_mean(name, self.provides))
        cells = CleanCells(*self._latents(batch), self._text(batch), batch.inputs.get("numbers"))
        free = batch.cells_of(needs.no_grad_roles) if needs.no_grad_roles else None
        draws = RowDraws.of(batch, self.draw_cycle)
        logps = denoising_logps(self.family, model, cells, draws, self.errors, free)
        return Likelihood(batch.scatter(logps), batch.sizes)

    @torch.no_grad()
    def _latents(self, batch: PreferenceBatch) -> tuple[Tensor, Tensor | None]:
        return self.family.encode_clean(batch.inputs["media"])

    @torch.no_grad()
    def _text(self, batch: PreferenceBatch) -> dict[str, Tensor]:
        """Each cell's conditioning; every different prompt is encoded once."""
        encoded = self.family.encode_prompts(batch.inputs["prompts"])
        return {name: values[batch.inputs["prompt_index"]] for name, values in encoded.items()}
