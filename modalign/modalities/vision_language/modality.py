"""The vision-language modality: models that answer prompts with images."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from modalign.core.batch import OTHER_IMAGE
from modalign.core.errors import UserError, did_you_mean
from modalign.modalities.lora import Lora
from modalign.modalities.text.loading import Dtype, Quantization
from modalign.modalities.text.modality import Scalar, Text
from modalign.modalities.vision_language.encoding import MediaEncoder, TooLong
from modalign.modalities.vision_language.freezing import TRAIN_VISION
from modalign.modalities.vision_language.images import Pictures
from modalign.modalities.vision_language.likelihood import MISLED
from modalign.modalities.vision_language.media_language import MediaLanguage
from modalign.modalities.vision_language.model_checks import check_image_tokens
from modalign.modalities.vision_language.other_media import Choose, roles
from modalign.modalities.vision_language.prompt_rows import row_prompt
from modalign.modalities.vision_language.variants.base import ImageVariant
from modalign.plugins.formats.images import IMAGE

AUTO_CLASS = "AutoModelForImageTextToText"
TOO_LONG = ("error", "resize")


class VisionLanguage(MediaLanguage):
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
    provides: ClassVar[frozenset[str]] = Text.provides | {MISLED}
    extra_roles: ClassVar[frozenset[str]] = Text.extra_roles | roles(OTHER_IMAGE)
    kind: ClassVar[str] = IMAGE.type
    auto_classes: ClassVar[tuple[str, ...]] = (AUTO_CLASS,)
    processes: ClassVar[tuple[str, ...]] = ("image_processor",)
    models: ClassVar[str] = "a vision-language model"
    train_option: ClassVar[str] = TRAIN_VISION
    context: ClassVar[str] = OTHER_IMAGE

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
        self.train_vision = self.train_tower = train_vision
        self.too_long = too_long
        self.max_image_side = max_image_side
        self.other_image = self.variant = other_image
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

    @property
    def medium(self) -> Pictures:
        """See `MediaLanguage.medium`."""
        return Pictures(self.max_image_side)

    @property
    def choose(self) -> Choose:
        """See `MediaLanguage.choose`."""
        if self.other_image is not None:
            return self.other_image.images
        from modalign.modalities.vision_language.variants.retrieved import Retrieved

        return Retrieved().images

    @property
    def media_options(self) -> Mapping[str, Any]:
        """See `MediaLanguage.media_options`."""
        return {"too_long": self.too_long, "max_image_side": self.max_image_side}

    def check_tower(self, policy: Any) -> None:
        """See `MediaLanguage.check_tower`."""
        check_image_tokens(policy, self._tokens)

    @cached_property
    def encoder(self) -> MediaEncoder:  # type: ignore[override]
        """What turns comparisons into tokens and images."""
        return MediaEncoder(self._tokens, self.limits, self.too_long)

    def prompt_of(self, row: Mapping[str, Any], column: str) -> Any:
        """See `Modality.prompt_of`: a chat with the images of the column `images` or `image`."""
        return row_prompt(row, column, IMAGE)
