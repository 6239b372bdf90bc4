"""The vision-language modality: models that answer prompts with images."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any, ClassVar

from torch import nn

from modalign.core.batch import Candidate, Comparison, Example, Likelihood, PreferenceBatch
from modalign.core.errors import RowError, UserError, did_you_mean
from modalign.core.objectives.base import Needs, Objective
from modalign.modalities.lora import Lora
from modalign.modalities.text.chat import is_chat
from modalign.modalities.text.fingerprint import text_fingerprint
from modalign.modalities.text.generation import LayOut, Prompted, Special
from modalign.modalities.text.loading import Dtype, Quantization, load_model
from modalign.modalities.text.modality import Scalar, Text
from modalign.modalities.text.preparation import prepare_for_training
from modalign.modalities.vision_language.cell import VisionCell
from modalign.modalities.vision_language.collation import collate
from modalign.modalities.vision_language.encoding import TooLong, VisionEncoder
from modalign.modalities.vision_language.fingerprint import processor_content
from modalign.modalities.vision_language.freezing import freeze, pattern, told, vision_modules
from modalign.modalities.vision_language.images import image_key
from modalign.modalities.vision_language.likelihood import MISLED, image_text_likelihood
from modalign.modalities.vision_language.messages import checked_prompt
from modalign.modalities.vision_language.model_checks import check_image_tokens
from modalign.modalities.vision_language.other_image import ELSEWHERE, ROLES, image_cell
from modalign.modalities.vision_language.processor import load_processor, set_chat_template
from modalign.modalities.vision_language.prompt_rows import row_prompt
from modalign.modalities.vision_language.prompts import IMAGE_TAG, answer, images_of
from modalign.modalities.vision_language.sampling import ProcessedBatches, never_said, vision_prompt
from modalign.modalities.vision_language.tokenization import VisionTokenizer
from modalign.modalities.vision_language.variants.base import ImageVariant

AUTO_CLASS = "AutoModelForImageTextToText"
TOO_LONG = ("error", "resize")


class VisionLanguage(Text):
    """Models that answer prompts with images; prompts are chats, responses strings or an assistant's message.

    Args:
        model: Hub id or local folder of any `AutoModelForImageTextToText`, or of a peft adapter (merged into its base).
        processor: Hub id or folder, where it is not the model's.
        revision: Branch, tag or commit of a hub id.
        trust_remote_code: Whether a repository's own Python code may run.
        dtype: Of the weights; "auto" takes the checkpoint's. Log-probabilities are reduced in float32 regardless.
        attn_implementation: "sdpa", "eager", "flash_attention_2"...; null lets transformers choose.
        quantization: Load frozen weights in 4 or 8 bits through bitsandbytes (QLoRA); needs `lora`.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, about a third more time.
        disable_dropout: Set the model's dropout to 0, so that policy and reference see the same network.
        lora: Train a low-rank adapter, in the language model alone unless `train_vision`; null trains all weights.
        train_vision: Train the vision tower and its projector too; false leaves them as they are. On several devices,
            set `trainer.strategy: ddp_find_unused_parameters_true` with it, since some towers have layers that no
            feature comes from; and for Mllama wherever the data has rows without images.
        chat_template: A Jinja file or text, in place of the processor's.
        chat_template_kwargs: Variables for the chat template, such as `enable_thinking`.
        max_length: Most tokens of a prompt, its images included, with its response; null for no limit.
        max_prompt_length: Most tokens of a prompt, its images included.
        max_completion_length: Cut every response there; null never cuts a response.
        too_long: What becomes of a prompt that does not fit; prompts are never cut. "error": its row is a bad row.
            "resize": its images are scaled down until it fits, and the row counts as truncated.
        max_image_side: Images are scaled down to so many pixels along their longer side; null leaves their size to the
            processor.
        other_image: Which image takes the place of a prompt's own where the objective asks for another one; null takes
            the data's own other image.
        add_eos: End responses in the end-of-sequence token, so that stopping is learned.
        chunk_size: How many tokens' logits are held at once.

    Raises:
        UserError: Two options contradict each other, or one is out of its range.
    """

    name: ClassVar[str] = "vision_language"
    reads: ClassVar[frozenset[str]] = frozenset({"text"})
    provides: ClassVar[frozenset[str]] = Text.provides | {MISLED}
    extra_roles: ClassVar[frozenset[str]] = Text.extra_roles | ROLES

    def __init__(
        self,
        model: str,
        processor: str | None = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
        dtype: Dtype = "float32",
        attn_implementation: str | None = None,
        quantization: Quantization | None = None,
        gradient_checkpointing: bool = False,
        disable_dropout: bool = True,
        lora: Lora | None = None,
        train_vision: bool = False,
        chat_template: str | None = None,
        chat_template_kwargs: dict[str, Scalar] | None = None,
        max_length: int | None = 2048,
        max_prompt_length: int | None = None,
        max_completion_length: int | None = None,
        too_long: TooLong = "error",
        max_image_side: int | None = None,
        other_image: ImageVariant | None = None,
        add_eos: bool = True,
        chunk_size: int = 512,
    ) -> None:
        self.train_vision = train_vision
        self.too_long = too_long
        self.max_image_side = max_image_side
        self.other_image = other_image
        self._notes: tuple[str, ...] = ()
        super().__init__(
            model,
            tokenizer=processor,
            revision=revision,
            trust_remote_code=trust_remote_code,
            dtype=dtype,
            attn_implementation=attn_implementation,
            quantization=quantization,
            gradient_checkpointing=gradient_checkpointing,
            disable_dropout=disable_dropout,
            lora=lora,
            chat_template=chat_template,
            chat_template_kwargs=chat_template_kwargs,
            max_length=max_length,
            max_prompt_length=max_prompt_length,
            max_completion_length=max_completion_length,
            truncation="error",
            add_eos=add_eos,
            chunk_size=chunk_size,
        )

    def _check_options(self) -> None:
        super()._check_options()
        if self.too_long not in TOO_LONG:
            raise UserError(f"modality.too_long is {self.too_long!r}.", did_you_mean(str(self.too_long), TOO_LONG))
        if not isinstance(self.other_image, ImageVariant | None):
            raise UserError(
                f"modality.other_image is {self.other_image!r}, which is no image variant.",
                "Give an object, such as Cropped(); a config gives its name.",
            )
        if self.max_image_side is not None and self.max_image_side < 1:
            raise UserError(
                f"modality.max_image_side is {self.max_image_side}; it counts pixels.",
                "Use a positive number, or null.",
            )

    @cached_property
    def processor(self) -> Any:
        """The transformers processor, loaded when it is first used; data workers receive it with this object."""
        revision = self.loading.revision if self.tokenizer_name == self.model else None
        processor = load_processor(self.tokenizer_name, revision, self.loading.trust_remote_code)
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
    def encoder(self) -> VisionEncoder:  # type: ignore[override]
        """What turns comparisons into tokens and images."""
        return VisionEncoder(self._tokens, self.limits, self.too_long)

    @cached_property
    def _tokens(self) -> VisionTokenizer:
        return VisionTokenizer(
            self.tokenizer, self.add_eos, self.chat_template_kwargs, self.processor, self.max_image_side
        )

    def load(self, model: str | None = None) -> nn.Module:
        """See `Modality.load`.

        Raises:
            UserError: The model cannot be found or loaded, its vision part cannot be told apart, or it does not fit
                the processor, the adapter or `max_length`.
        """
        policy = load_model(model or self.model, self._load_options(model), AUTO_CLASS)
        self._check_model(policy)
        check_image_tokens(policy, self._tokens)
        if self.train_vision:
            return prepare_for_training(policy, self.lora, self.gradient_checkpointing)
        names = vision_modules(policy)
        prepared = prepare_for_training(policy, self.lora, self.gradient_checkpointing, pattern(names))
        freeze(policy, names)
        self._notes = (told(prepared, names),)
        return prepared

    def start_notes(self, objective: Objective) -> Sequence[str]:
        """See `Modality.start_notes`: what of the loaded model trains, and an image variant that nothing asks for."""
        if self.other_image is None or not ELSEWHERE.keys().isdisjoint(objective.extra_roles):
            return self._notes
        unused = f"modality.other_image has no part in this run: {type(objective).__name__} compares no other image"
        return (*self._notes, unused)

    def encode(self, comparison: Comparison) -> Example:
        """See `Modality.encode`; sizes are the scored tokens, the end-of-sequence token among them."""
        return self.encoder.encode(comparison)

    def collate_cells(self, cells: Sequence[VisionCell]) -> dict[str, Any]:  # type: ignore[override]
        """See `modalign.modalities.vision_language.collation` for the tensors."""
        return collate(cells)

    def likelihood(self, model: nn.Module, batch: PreferenceBatch, needs: Needs) -> Likelihood:
        """The summed log-probabilities of completion tokens; each distinct set of images is encoded once.

        Raises:
            ConfigError: `needs` names something this modality does not compute, or a sequence is longer than the model
                takes.
        """
        self._check_needs(needs)
        return image_text_likelihood(model, batch, needs, self.chunk_size)

    def prompt_of(self, row: Mapping[str, Any], column: str) -> Any:
        """See `Modality.prompt_of`: a chat with the images of the column `images` or `image`."""
        return row_prompt(row, column)

    @property
    def _preprocessor(self) -> Any:
        return self.processor

    def _prompted(self, prompt: Any, room: int | None) -> Prompted:
        return vision_prompt(self.encoder.encode_prompt(prompt, room))

    def _special_tokens(self, model: nn.Module) -> Special:
        return replace(super()._special_tokens(model), never=never_said(self._tokens, model))

    def _lay_out(self, pad: int) -> LayOut:
        return ProcessedBatches(self._tokens)

    def needs_other_row(self, roles: Sequence[str]) -> bool:
        """See `Modality.needs_other_row`: where the image variant takes another row's."""
        return super().needs_other_row(roles) or (self._takes_other_row and not ELSEWHERE.keys().isdisjoint(roles))

    def other_key(self, comparison: Comparison) -> Any:
        """See `Modality.other_key`: what the images hold, where the image variant takes another row's."""
        if self._takes_other_row:
            return _contents(images_of(comparison.prompt))
        return super().other_key(comparison)

    def extra_candidate(self, comparison: Comparison, role: str, other: Comparison | None) -> Candidate:
        """See `Modality.extra_candidate`: responses under another image or prompt, and the answer to the other image.

        Raises:
            RowError: The prompt has no image, or there is no other image, no other prompt, or no answer to it.
        """
        if role in ROLES:
            return image_cell(comparison, role, self._variant, other)
        return super().extra_candidate(comparison, role, other)

    @property
    def _takes_other_row(self) -> bool:
        return self.other_image is not None and self.other_image.needs_other_row

    @cached_property
    def _variant(self) -> ImageVariant:
        if self.other_image is not None:
            return self.other_image
        from modalign.modalities.vision_language.variants.retrieved import Retrieved

        return Retrieved()

    def preview(self, prompt: Any, response: Any) -> str:
        """See `Modality.preview`; chats are shown turn by turn, images by their paths."""
        turns = [*checked_prompt(prompt), *checked_prompt(response if is_chat(response) else answer(str(response)))]
        return "\n".join(f"{turn['role']}: {''.join(map(_readable, turn['content']))}" for turn in turns)

    def fingerprint(self) -> str:
        """See `Modality.fingerprint`: everything that decides which tokens are scored and how they are computed.

        Which images they are scored under is part of the encoded rows.
        """
        return text_fingerprint(
            self.tokenizer,
            {
                "processor": processor_content(self.processor),
                "dtype": self.loading.dtype,
                "attn_implementation": self.loading.attn_implementation,
                "quantization": self.loading.quantization,
                "trust_remote_code": self.loading.trust_remote_code,
                "chat_template_kwargs": self.chat_template_kwargs,
                "limits": asdict(self.limits),
                "too_long": self.too_long,
                "max_image_side": self.max_image_side,
                "add_eos": self.add_eos,
            },
        )


def _contents(images: Sequence[Any]) -> list[str] | None:
    """Hashes of images, so that copies of a file are one image; None without images, or where one cannot be read."""
    try:
        return [image_key(image) for image in images] or None
    except RowError:  # encoding the row tells
        return None


def _readable(part: Mapping[str, Any]) -> str:
    if part["type"] == "text":
        return str(part["text"])
    path = getattr(part["image"], "path", "")
    return f"<image {path}>" if path else IMAGE_TAG
