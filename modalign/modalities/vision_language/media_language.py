"""What models that answer prompts with media share, whether they see or hear."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol

from torch import nn

from modalign.core.batch import Candidate, Comparison, Example, Likelihood, PreferenceBatch
from modalign.core.errors import RowError, UserError
from modalign.core.objectives.base import Needs, Objective
from modalign.modalities.text.chat import is_chat
from modalign.modalities.text.fingerprint import text_fingerprint
from modalign.modalities.text.generation import LayOut, Prompted, Special
from modalign.modalities.text.loading import load_model
from modalign.modalities.text.modality import Text
from modalign.modalities.text.preparation import prepare_for_training
from modalign.modalities.vision_language.cell import MediaCell
from modalign.modalities.vision_language.collation import collate
from modalign.modalities.vision_language.encoding import MediaEncoder
from modalign.modalities.vision_language.fingerprint import processor_content
from modalign.modalities.vision_language.freezing import freeze, pattern, told, tower_modules
from modalign.modalities.vision_language.likelihood import media_text_likelihood
from modalign.modalities.vision_language.medium import Medium
from modalign.modalities.vision_language.messages import checked_prompt
from modalign.modalities.vision_language.other_media import Choose, elsewhere, media_cell, roles
from modalign.modalities.vision_language.processor import load_processor, part_of, set_chat_template
from modalign.modalities.vision_language.prompts import NOUNS, answer, media_of, tag
from modalign.modalities.vision_language.sampling import ProcessedBatches, media_prompt, never_said
from modalign.modalities.vision_language.tokenization import MediaTokenizer


class Variant(Protocol):
    """Says which media take the place of a prompt's own."""

    needs_other_row: ClassVar[bool]


class MediaLanguage(Text):
    """Models that answer prompts with media of one kind; see `VisionLanguage` and `AudioLanguage`.

    Attributes:
        kind: Of the media.
        auto_classes: The names of the classes of transformers that load such models.
        processes: The attributes of a processor of which one holds what processes the media.
        models: What such a model is called, for messages.
        train_option: The option that trains the tower.
        context: What the context with other media is called; the name of the option of the variant too.
        train_tower: Whether the tower and its projector train.
        variant: Which media take the place of a prompt's own where the objective asks for other ones.
    """

    kind: ClassVar[str]
    auto_classes: ClassVar[tuple[str, ...]]
    processes: ClassVar[tuple[str, ...]]
    models: ClassVar[str]
    train_option: ClassVar[str]
    context: ClassVar[str]
    reads: ClassVar[frozenset[str]] = frozenset({"text"})
    train_tower: bool
    variant: Variant | None
    _notes: tuple[str, ...] = ()

    @property
    @abstractmethod
    def medium(self) -> Medium:
        """How media are opened, told apart and handed to the processor."""

    @property
    @abstractmethod
    def choose(self) -> Choose:
        """Which media take the places of a prompt's own."""

    @property
    @abstractmethod
    def media_options(self) -> Mapping[str, Any]:
        """The options that decide what becomes of media, for the fingerprint."""

    @abstractmethod
    def check_tower(self, policy: Any) -> None:
        """Refuse a processor that does not fit the model.

        Raises:
            ConfigError: The tower does not take its tensors, or gives another number of features.
        """

    @cached_property
    def processor(self) -> Any:
        """The transformers processor, loaded when it is first used; data workers receive it with this object."""
        revision = self.loading.revision if self.tokenizer_name == self.model else None
        processor = load_processor(
            self.tokenizer_name, revision, self.loading.trust_remote_code, self.processes, self.models
        )
        set_chat_template(processor, self.chat_template)
        if self.add_eos and processor.tokenizer.eos_token_id is None:
            raise UserError(
                f"The tokenizer of {self.tokenizer_name!r} has no end-of-sequence token to end responses with.",
                "Set modality.add_eos to false, or name another modality.processor.",
            )
        return processor

    @cached_property
    def tokenizer(self) -> Any:
        """The processor's."""
        return self.processor.tokenizer

    @cached_property
    def encoder(self) -> MediaEncoder:  # type: ignore[override]
        """What turns comparisons into tokens and media."""
        return MediaEncoder(self._tokens, self.limits)

    @cached_property
    def _tokens(self) -> MediaTokenizer:
        return MediaTokenizer(
            self.tokenizer, self.add_eos, self.chat_template_kwargs, processor=self.processor, medium=self.medium
        )

    def load(self, model: str | None = None) -> nn.Module:
        """See `Modality.load`.

        Raises:
            UserError: The model cannot be found or loaded, its tower cannot be told apart, or it does not fit the
                processor, the adapter or `max_length`.
        """
        policy = load_model(model or self.model, self._load_options(model), self.auto_classes)
        self._check_model(policy)
        self.check_tower(policy)
        if self.train_tower:
            return prepare_for_training(policy, self.lora, self.gradient_checkpointing)
        names = tower_modules(policy, self.train_option)
        prepared = prepare_for_training(policy, self.lora, self.gradient_checkpointing, pattern(names))
        freeze(policy, names)
        self._notes = (told(prepared, names, self.train_option),)
        return prepared

    def start_notes(self, objective: Objective) -> Sequence[str]:
        """See `Modality.start_notes`: what of the loaded model trains, and a variant that nothing asks for."""
        if self.variant is None or not elsewhere(self.context).keys().isdisjoint(objective.extra_roles):
            return self._notes
        unused = (
            f"modality.{self.context} has no part in this run: {type(objective).__name__} compares no other "
            f"{NOUNS[self.kind]}"
        )
        return (*self._notes, unused)

    def encode(self, comparison: Comparison) -> Example:
        """See `Modality.encode`; sizes are the scored tokens, the end-of-sequence token among them."""
        return self.encoder.encode(comparison)

    def collate_cells(self, cells: Sequence[MediaCell]) -> dict[str, Any]:  # type: ignore[override]
        """See `modalign.modalities.vision_language.collation` for the tensors."""
        return collate(cells)

    def likelihood(self, model: nn.Module, batch: PreferenceBatch, needs: Needs) -> Likelihood:
        """The summed log-probabilities of completion tokens; each distinct set of media is encoded once.

        Raises:
            ConfigError: `needs` names something this modality does not compute, or a sequence is longer than the model
                takes.
        """
        self._check_needs(needs)
        return media_text_likelihood(model, batch, needs, self.chunk_size, self.context)

    @property
    def _preprocessor(self) -> Any:
        return self.processor

    def _prompted(self, prompt: Any, room: int | None) -> Prompted:
        return media_prompt(self.encoder.encode_prompt(prompt, room))

    def _special_tokens(self, model: nn.Module) -> Special:
        return replace(super()._special_tokens(model), never=never_said(self._tokens, model))

    def _lay_out(self, pad: int) -> LayOut:
        return ProcessedBatches(self._tokens)

    def needs_other_row(self, roles: Sequence[str]) -> bool:
        """See `Modality.needs_other_row`: where the variant takes another row's."""
        there = elsewhere(self.context).keys()
        return super().needs_other_row(roles) or (self._takes_other_row and not there.isdisjoint(roles))

    def other_key(self, comparison: Comparison) -> Any:
        """See `Modality.other_key`: what the media hold, where the variant takes another row's."""
        if self._takes_other_row:
            return self._contents(media_of(comparison.prompt, self.kind))
        return super().other_key(comparison)

    def extra_candidate(self, comparison: Comparison, role: str, other: Comparison | None) -> Candidate:
        """See `Modality.extra_candidate`: responses under other media or prompts, and the answer to the other medium.

        Raises:
            RowError: The prompt has no medium, or there is no other one, no other prompt, or no answer to it.
        """
        if role in roles(self.context):
            return media_cell(comparison, role, self.kind, self.context, self.choose, other)
        return super().extra_candidate(comparison, role, other)

    @property
    def _takes_other_row(self) -> bool:
        return self.variant is not None and self.variant.needs_other_row

    def _contents(self, media: Sequence[Any]) -> list[str] | None:
        """Hashes of media, so that copies of a file are one; None without media, or where one cannot be read."""
        try:
            return [self.medium.key(value) for value in media] or None
        except RowError:  # encoding the row tells
            return None

    def preview(self, prompt: Any, response: Any) -> str:
        """See `Modality.preview`; chats are shown turn by turn, media by their paths."""
        reply = response if is_chat(response) else answer(str(response))
        turns = [*checked_prompt(prompt, self.kind), *checked_prompt(reply, self.kind)]
        shown = ((turn["role"], "".join(_readable(part, self.kind) for part in turn["content"])) for turn in turns)
        return "\n".join(f"{role}: {content}" for role, content in shown)

    def fingerprint(self) -> str:
        """See `Modality.fingerprint`: everything that decides which tokens are scored and how they are computed.

        Which media they are scored under is part of the encoded rows.
        """
        return text_fingerprint(
            self.tokenizer,
            {
                "processor": processor_content(self.processor, part_of(self.processor, self.processes)),
                "dtype": self.loading.dtype,
                "attn_implementation": self.loading.attn_implementation,
                "quantization": self.loading.quantization,
                "trust_remote_code": self.loading.trust_remote_code,
                "chat_template_kwargs": self.chat_template_kwargs,
                "limits": asdict(self.limits),
                "add_eos": self.add_eos,
                **self.media_options,
            },
        )


def _readable(part: Mapping[str, Any], kind: str) -> str:
    if part["type"] == "text":
        return str(part["text"])
    path = getattr(part[kind], "path", "")
    return f"<{kind} {path}>" if path else tag(kind)
