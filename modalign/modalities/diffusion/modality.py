"""What all modalities of diffusion models share: loading a denoiser, and its likelihood of latents."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from modalign.core.batch import Example, Likelihood, PreferenceBatch
from modalign.core.content import content_hash
from modalign.core.errors import ConfigError, UserError, did_you_mean
from modalign.core.keys import run_seed
from modalign.core.modality import Modality
from modalign.core.objectives.base import Needs, Objective
from modalign.modalities.diffusion.cells import DiffusionCell, RowChoices, drawn_cells
from modalign.modalities.diffusion.draws import RowDraws
from modalign.modalities.diffusion.family import DiffusionFamily
from modalign.modalities.diffusion.fingerprint import parts_hash, text_part_names
from modalign.modalities.diffusion.likelihood import CleanCells, ErrorSettings, denoising_logps
from modalign.modalities.diffusion.loading import (
    PipelineSource,
    check_family_name,
    family_class,
    load_denoiser,
    load_family,
)
from modalign.modalities.diffusion.policy import trainable_policy
from modalign.modalities.diffusion.strength import strength_notes
from modalign.modalities.diffusion.timesteps import Timesteps
from modalign.modalities.lora import Lora, without_adapter
from modalign.modalities.modes import is_peft_model


class DiffusionModality(Modality):
    """A pipeline's denoiser as the policy, the rest of the pipeline frozen.

    Args:
        source: The pipeline.
        errors: How denoising errors become log-likelihoods.
        family: The registered family; None for the one that serves the pipeline's class.
        timesteps_chosen: Whether `errors.timesteps` are the user's; else a flow gets logit-normal ones.
        guidance: See `DiffusionFamily`.
        draw_cycle: After how many epochs a row's draws repeat; None for never.
        sample_posterior: Whether clean latents are drawn from their distribution, rather than its mean.
        caption_dropout: The share of rows whose prompt is left out.
        lora: The adapter that is trained; None trains all weights.
        gradient_checkpointing: Whether activations are computed again in the backward pass.

    Raises:
        UserError: There is no such family, or an option is out of range.
    """

    supports_adapters: ClassVar[bool] = True

    def __init__(
        self,
        source: PipelineSource,
        errors: ErrorSettings,
        family: str | None = None,
        timesteps_chosen: bool = True,
        guidance: float | None = None,
        draw_cycle: int | None = None,
        sample_posterior: bool = True,
        caption_dropout: float = 0.0,
        lora: Lora | None = None,
        gradient_checkpointing: bool = False,
    ) -> None:
        self.source = source
        self.errors = errors
        self.family_name = family
        self.timesteps_chosen = timesteps_chosen
        self.guidance = guidance
        self.sample_posterior = sample_posterior
        self.caption_dropout = caption_dropout
        self.lora = lora
        self.gradient_checkpointing = gradient_checkpointing
        self._draw_cycle = draw_cycle
        self._family: DiffusionFamily | None = None
        check_family_name(family)
        if draw_cycle is not None and draw_cycle < 1:
            raise ConfigError(f"modality.draw_cycle is {draw_cycle}.", "Give a number of epochs, at least 1.")
        if not 0 <= caption_dropout < 1:
            raise ConfigError(f"modality.caption_dropout is {caption_dropout}.", "Give a share from 0 to below 1.")

    @property
    def family(self) -> DiffusionFamily:
        """The frozen parts, loaded when they are first used; they do not travel to data workers."""
        if self._family is None:
            self._family = load_family(self.source, self.family_name, self.guidance)
        return self._family

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_family": None}

    @property
    def settings(self) -> ErrorSettings:
        """How errors become log-likelihoods, with the timesteps of this model's kind."""
        if self.timesteps_chosen or self.family.process.prediction != "flow":
            return self.errors
        return replace(self.errors, timesteps=Timesteps("logit_normal"))

    def load(self, model: str | None = None) -> nn.Module:
        """See `Modality.load`: the denoiser alone.

        Raises:
            UserError: The model cannot be found or loaded, or does not fit the adapter or the options.
        """
        self.check_model()
        source = self.source if model is None else replace(self.source, model=model, revision=None, variant=None)
        denoiser = load_denoiser(source, self.family_name)
        targets = family_class(source, self.family_name).lora_targets
        return trainable_policy(denoiser, self.lora, targets, self.gradient_checkpointing)

    def check_model(self) -> None:
        """Refuse what the pipeline's configuration files do not fit, before weights are read.

        Raises:
            UserError: An option does not fit the model.
        """

    def has_adapter(self, model: nn.Module) -> bool:
        """See `Modality.has_adapter`: LoRA starts as a change of zero, so without it the model is as it was loaded."""
        return is_peft_model(model)

    def adapter_off(self, model: nn.Module) -> AbstractContextManager[Any]:
        """See `Modality.adapter_off`.

        Raises:
            UserError: The model has no adapter.
        """
        if not self.has_adapter(model):
            raise UserError("The policy has no adapter to switch off.", "Set modality.lora, or another reference.")
        return without_adapter(model)

    def fingerprint(self) -> str:
        """See `Modality.fingerprint`: the frozen parts' content, and every option that changes an error."""
        import diffusers
        import transformers

        pipeline, family = self.family.pipeline, self.family
        names = [*family.media_parts, *text_part_names(family.text_parts), "scheduler"]
        return content_hash(
            {
                "versions": [diffusers.__version__, transformers.__version__],
                "family": f"{type(family).__module__}.{type(family).__qualname__}",
                "parts": parts_hash(pipeline, names),
                "settings": self.settings,
                "dtypes": [self.source.dtype, self.source.encoder_dtype],
                **self.likelihood_options(),
            }
        )

    def likelihood_options(self) -> dict[str, Any]:
        """Options that change an error, beside how errors are measured."""
        return {
            "guidance": self.guidance,
            "sample_posterior": self.sample_posterior,
            "caption_dropout": self.caption_dropout,
        }

    @property
    def draw_cycle(self) -> int | None:
        return self._draw_cycle

    def draw_key(self, index: int, epoch: int) -> tuple[int | str, ...]:
        return (run_seed(), self.drawn_epoch(epoch), index)

    def drawn_epoch(self, epoch: int) -> int:
        """The epoch whose draws this one repeats."""
        return epoch % self.draw_cycle if self.draw_cycle else epoch

    def collate(self, examples: Sequence[Example], index: Sequence[int], epoch: int = 0) -> PreferenceBatch:
        return super().collate(drawn_cells(examples, index, partial(self.choices, epoch), self.show), index, epoch)

    def choices(self, epoch: int, row: int) -> RowChoices:
        """What is drawn once for a row and epoch."""
        return RowChoices.of(row, self.drawn_epoch(epoch), False, self.caption_dropout)

    def show(self, cell: DiffusionCell, choices: RowChoices) -> DiffusionCell:
        """A cell as an epoch shows it: cropped and mirrored, where a modality does so."""
        return cell

    @property
    def latent_sizes(self) -> Mapping[str, int]:
        """How many latent numbers a medium has, by the name of its size; see `strength_notes`."""
        return {}

    def start_notes(self, objective: Objective) -> Sequence[str]:
        """See `Modality.start_notes`: how strongly the objective's options act on errors at this size."""
        return strength_notes(objective, self.latent_sizes)

    def likelihood(self, model: nn.Module, batch: PreferenceBatch, needs: Needs) -> Likelihood:
        for name in sorted(needs.extra - self.provides):
            raise ConfigError(f"The {self.name} modality cannot compute {name!r}.", did_you_mean(name, self.provides))
        cells = CleanCells(*self._latents(batch), self._text(batch), batch.inputs.get("numbers"))
        free = batch.cells_of(needs.no_grad_roles) if needs.no_grad_roles else None
        draws = RowDraws.of(batch, self.draw_cycle)
        logps = denoising_logps(self.family, model, cells, draws, self.settings, free)
        return Likelihood(batch.scatter(logps), batch.sizes)

    def _latents(self, batch: PreferenceBatch) -> tuple[Tensor, Tensor | None]:
        """The mean of each cell's clean latents, and their standard deviation where they are to be sampled."""
        media = batch.inputs["media"]
        with self._frozen_parts(self.family.media_parts, media.device):
            mean, std = self.family.encode_clean(self.pixels(media))
        return mean, std if self.sample_posterior else None

    def pixels(self, media: Tensor) -> Tensor:
        """Media as `DiffusionFamily.encode_clean` takes them, in the frozen parts' dtype but float32 at least."""
        wide = torch.promote_types(getattr(torch, self.source.encoder_dtype), torch.float32)
        return media.to(wide)

    def _text(self, batch: PreferenceBatch) -> dict[str, Tensor]:
        """Each cell's conditioning; every different prompt is encoded once."""
        index = batch.inputs["prompt_index"]
        with self._frozen_parts(self.family.text_parts, index.device):
            encoded = self.family.encode_prompts(batch.inputs["prompts"])
        return {name: values.to(index.device)[index] for name, values in encoded.items()}

    @contextmanager
    def _frozen_parts(self, parts: Sequence[str], device: torch.device) -> Iterator[None]:
        """A context in which frozen parts run on a device in their own precision, whatever the trainer's."""
        self.family.place(parts, device)
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            with torch.no_grad(), torch.autocast(device.type, enabled=False):
                yield
        finally:
            torch.set_default_dtype(default)
