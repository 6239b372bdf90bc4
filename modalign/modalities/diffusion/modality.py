"""What all modalities of diffusion models share: loading a denoiser, and its likelihood of latents."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from modalign.core.batch import EVALUATION, Example, Likelihood, PreferenceBatch
from modalign.core.content import content_hash
from modalign.core.errors import ConfigError, did_you_mean
from modalign.core.keys import run_seed
from modalign.core.objectives.base import Needs, Objective
from modalign.modalities.diffusion.cells import PLAIN, RowChoices, drawn_cells
from modalign.modalities.diffusion.collation import latents_of, text_of
from modalign.modalities.diffusion.draws import RowDraws, drawn_epoch
from modalign.modalities.diffusion.encoded_modality import EncodedModality
from modalign.modalities.diffusion.export import check_export_options, export_policy, reads_lora_files
from modalign.modalities.diffusion.fingerprint import parts_hash, plain_config, text_part_names
from modalign.modalities.diffusion.frozen_outputs import RECORD_VERSION, CacheOptions
from modalign.modalities.diffusion.likelihood import LIKELIHOOD_VERSION, CleanCells, ErrorSettings, denoising_logps
from modalign.modalities.diffusion.loading import (
    PipelineSource,
    check_family_name,
    family_class,
    load_denoiser,
    pipeline_class,
)
from modalign.modalities.diffusion.policy import trainable_policy
from modalign.modalities.diffusion.second_model import check_second_model
from modalign.modalities.diffusion.strength import strength_notes
from modalign.modalities.diffusion.timesteps import Timesteps
from modalign.modalities.lora import Lora
from modalign.modalities.lora_modality import LoraModality


class DiffusionModality(LoraModality, EncodedModality):
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
        flip: Whether half of all rows' media are mirrored.
        outputs: Whether and how what the frozen parts make is kept.

    Raises:
        UserError: There is no such family, or an option is out of range.
    """

    tolerated_fall: ClassVar[float | None] = 0.1

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
        flip: bool = False,
        outputs: CacheOptions | None = None,
    ) -> None:
        super().__init__(source, family, guidance, flip, outputs)
        self.errors = errors
        self.timesteps_chosen = timesteps_chosen
        self.sample_posterior = sample_posterior
        self.caption_dropout = caption_dropout
        self.lora = lora
        self.gradient_checkpointing = gradient_checkpointing
        self._draw_cycle = draw_cycle
        check_family_name(family)
        if draw_cycle is not None and draw_cycle < 1:
            raise ConfigError(f"modality.draw_cycle is {draw_cycle}.", "Give a number of epochs, at least 1.")
        if not 0 <= caption_dropout < 1:
            raise ConfigError(f"modality.caption_dropout is {caption_dropout}.", "Give a share from 0 to below 1.")

    def check_crop(self, crop: str, known: Sequence[str]) -> None:
        """Refuse a way of cropping that there is not, or that keeps no latents.

        Args:
            crop: The option's value; `random` draws a place anew in each epoch.
            known: All ways.

        Raises:
            ConfigError: Naming the option.
        """
        if crop not in known:
            raise ConfigError(f"modality.crop is {crop!r}.", did_you_mean(str(crop), known))
        if crop == "random" and self.cache_mode == "disk":
            raise ConfigError(
                "modality.crop is random, and modality.cache is disk: each epoch has latents of its own.",
                f"Set modality.cache: off, or modality.crop: {known[0]}.",
            )

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
        if self.errors.timesteps.values:
            self.errors.timesteps.check(self.family.process.timesteps)
        source, family = self.source, family_class(self.source, self.family_name)
        if model is not None:
            source = replace(source, model=model, revision=None, variant=None)
            check_second_model(self.source, source, family, self.family_name)
        denoiser = load_denoiser(source, self.family_name)
        return trainable_policy(
            denoiser, self.lora, family.lora_targets, self.gradient_checkpointing, family.checkpoint
        )

    def check_model(self) -> None:
        """Refuse what the pipeline's configuration files do not fit, before weights are read.

        Raises:
            UserError: An option does not fit the model.
        """
        family = family_class(self.source, self.family_name)
        pipeline_class(self.source)
        family.check_guidance(self.source.config(family.denoiser_part), self.guidance)

    def fingerprint(self) -> str:
        """See `Modality.fingerprint`: all that changes an error, beside the policy's weights and the rows' content."""
        import diffusers
        import transformers

        pipeline, family = self.family.pipeline, self.family
        names = [*family.media_parts, *text_part_names(family.text_parts), "scheduler"]
        return content_hash(
            {
                "versions": [LIKELIHOOD_VERSION, RECORD_VERSION, diffusers.__version__, transformers.__version__],
                "family": f"{type(family).__module__}.{type(family).__qualname__}",
                "parts": parts_hash(pipeline, names),
                "denoiser": plain_config(family.denoiser_config),
                "encoders": family.encoder_settings(self.source.index(), family.denoiser_config),
                "media": self.media_settings(),
                "prompts": self.prompt_settings(),
                "settings": self.settings,
                "dtypes": [self.source.dtype, self.source.encoder_dtype],
                **self.likelihood_options(),
            }
        )

    def likelihood_options(self) -> dict[str, Any]:
        """Options that change an error, beside how errors are measured and `media_settings`."""
        return {
            "guidance": self.guidance,
            "flip": self.flip,
            "cache_dtype": self.cache_dtype,
            "sample_posterior": self.sample_posterior,
            "caption_dropout": self.caption_dropout,
        }

    @property
    def draw_cycle(self) -> int | None:
        return self._draw_cycle

    def draw_key(self, index: int, epoch: int) -> tuple[int | str, ...]:
        return (run_seed(), drawn_epoch(epoch, self.draw_cycle), index)

    def collate(self, examples: Sequence[Example], index: Sequence[int], epoch: int = 0) -> PreferenceBatch:
        return super().collate(drawn_cells(examples, index, partial(self.choices, epoch), self.show), index, epoch)

    def choices(self, epoch: int, row: int) -> RowChoices:
        """What is drawn once for a row and epoch."""
        if epoch == EVALUATION:
            return PLAIN
        return RowChoices.of(row, drawn_epoch(epoch, self.draw_cycle), self.flip, self.caption_dropout)

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
        inputs = self.encode_batch(batch).inputs
        mean, std = latents_of(inputs)
        text = text_of(inputs, self.family.unconditional)
        cells = CleanCells(mean, std if self.sample_posterior else None, text, inputs.get("numbers"))
        free = batch.cells_of(needs.no_grad_roles) if needs.no_grad_roles else None
        draws = RowDraws.of(batch, self.draw_cycle)
        logps = denoising_logps(self.family, model, cells, draws, self.settings, free)
        return Likelihood(batch.scatter(logps), batch.sizes)

    @contextmanager
    def whole_pipeline(self, model: nn.Module) -> Iterator[None]:
        """A context in which all frozen parts are on a policy's device, in their own precision; they go back then."""
        device, parts = next(model.parameters()).device, (*self.family.media_parts, *self.family.text_parts)
        with self.family.placed(parts, device), self._frozen_parts(parts, device):
            yield

    def export(
        self,
        model: nn.Module,
        folder: Path,
        card: str,
        *,
        merge: bool = True,
        overwrite: bool = False,
        **options: Any,
    ) -> None:
        """Write a diffusers pipeline folder (or, unmerged, an adapter) with a model card; whole or not at all.

        Args:
            model: The policy; it is not changed.
            folder: Must not exist, unless `overwrite`.
            card: The text of README.md.
            merge: Whether an adapter is merged into a full pipeline, rather than written alone.
            overwrite: Whether an existing folder is replaced.
            **options: Refused: there are no others.

        Raises:
            UserError: The folder exists or cannot be written, or the adapter can only be written otherwise.
        """
        self.check_export({"merge": merge, **options})
        family = family_class(self.source, self.family_name)
        export_policy(model, self.source, family, folder, card, merge, overwrite)

    def check_export(self, options: Mapping[str, Any]) -> None:
        """See `Modality.check_export`."""
        check_export_options(options, self.lora, self.source, self.media_name)

    def library(self, options: Mapping[str, Any]) -> str:
        """See `Modality.library`: peft loads an adapter of a pipeline that reads no LoRA files."""
        return "diffusers" if options.get("merge", True) or reads_lora_files(self.source) else "peft"
