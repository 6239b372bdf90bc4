"""The audio-language modality: models that answer prompts with sounds."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, get_args

from modalign.core.batch import OTHER_AUDIO
from modalign.core.errors import UserError, did_you_mean
from modalign.modalities.audio.language.model_checks import check_audio_tokens, check_no_adapter, check_processor
from modalign.modalities.audio.language.sounds import EXTRACTORS, LongSounds, Sounds, extractor_of, longest_sound
from modalign.modalities.audio.variants.base import AudioVariant
from modalign.modalities.audio.variants.other_clip import OtherClip
from modalign.modalities.lora import Lora
from modalign.modalities.text.loading import Dtype, Quantization
from modalign.modalities.text.modality import Scalar, Text
from modalign.modalities.vision_language.likelihood import MISLED
from modalign.modalities.vision_language.media_language import MediaLanguage
from modalign.modalities.vision_language.other_media import Choose, roles
from modalign.modalities.vision_language.prompt_rows import row_prompt
from modalign.plugins.formats.sounds import SOUND

AUTO_CLASSES = ("AutoModelForMultimodalLM", "AutoModelForSeq2SeqLM")
"""The latter knows a few language models that hear, such as Audio Flamingo 3; encoder-decoders are refused."""


class AudioLanguage(MediaLanguage):
    """Models that answer prompts with sounds; prompts are chats, responses strings or an assistant's message.

    Args:
        model: Hub id or local folder of a model that hears and writes (Qwen2-Audio, the thinker of a Qwen-Omni, Audio
            Flamingo 3, GLM-ASR...), or of a peft adapter (merged into its base).
        processor: Hub id or folder, where it is not the model's.
        revision: Branch, tag or commit of a hub id.
        trust_remote_code: Whether a repository's own Python code may run.
        dtype: Of the weights; "auto" takes the checkpoint's. Log-probabilities are reduced in float32 regardless.
        attn_implementation: "sdpa", "eager", "flash_attention_2"...; null lets transformers choose.
        quantization: Load frozen weights in 4 or 8 bits through bitsandbytes (QLoRA); needs `lora`.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, about a third more time.
        disable_dropout: Set the model's dropout to 0, so that policy and reference see the same network.
        lora: Train a low-rank adapter, in the language model alone unless `train_audio`; null trains all weights.
        train_audio: Train the audio tower and its projector too; false leaves them as they are. On several devices, set
            `trainer.strategy: ddp_find_unused_parameters_true` with it wherever the data has rows without sounds.
        chat_template: A Jinja file or text, in place of the processor's.
        chat_template_kwargs: Variables for the chat template, such as `enable_thinking`.
        max_length: Most tokens of a prompt, its sounds included, with its response; null for no limit.
        max_prompt_length: Most tokens of a prompt, its sounds included. Prompts are never cut: the row of one that does
            not fit is a bad row.
        max_completion_length: Cut every response there; null never cuts a response.
        long_sounds: What becomes of a sound that is longer than the processor takes (30 seconds for Whisper's spectra),
            and whose end it would leave out silently. "error": its row is a bad row. "cut": its beginning is heard,
            and the row counts as truncated.
        other_audio: Which sound takes the place of a prompt's own where the objective asks for another one; null takes
            the data's own other sound.
        add_eos: End responses in the end-of-sequence token, so that stopping is learned.
        chunk_size: How many tokens' logits are held at once.

    Raises:
        UserError: Two options contradict each other, or one is out of its range.
    """

    name: ClassVar[str] = "audio_language"
    provides: ClassVar[frozenset[str]] = Text.provides | {MISLED}
    extra_roles: ClassVar[frozenset[str]] = Text.extra_roles | roles(OTHER_AUDIO)
    kind: ClassVar[str] = SOUND.type
    auto_classes: ClassVar[tuple[str, ...]] = AUTO_CLASSES
    processes: ClassVar[tuple[str, ...]] = EXTRACTORS
    models: ClassVar[str] = "an audio-language model"
    train_option: ClassVar[str] = "train_audio"
    context: ClassVar[str] = OTHER_AUDIO

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
        train_audio: bool = False,
        chat_template: str | None = None,
        chat_template_kwargs: dict[str, Scalar] | None = None,
        max_length: int | None = 2048,
        max_prompt_length: int | None = None,
        max_completion_length: int | None = None,
        long_sounds: LongSounds = "error",
        other_audio: AudioVariant | None = None,
        add_eos: bool = True,
        chunk_size: int = 512,
    ) -> None:
        self.train_audio = self.train_tower = train_audio
        self.long_sounds = long_sounds
        self.other_audio = self.variant = other_audio
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
        choices = get_args(LongSounds)
        if self.long_sounds not in choices:
            raise UserError(
                f"modality.long_sounds is {self.long_sounds!r}.", did_you_mean(str(self.long_sounds), choices)
            )
        if not isinstance(self.other_audio, AudioVariant | None):
            raise UserError(
                f"modality.other_audio is {self.other_audio!r}, which is no audio variant.",
                "Give an object, such as Silent(); a config gives its name.",
            )

    @cached_property
    def medium(self) -> Sounds:
        """See `MediaLanguage.medium`.

        Raises:
            UserError: The processor cannot be called with sounds, or draws what it makes of them.
        """
        check_processor(self.processor)
        return Sounds(extractor_of(self.processor).sampling_rate, longest_sound(self.processor), self.long_sounds)

    @property
    def choose(self) -> Choose:
        """See `MediaLanguage.choose`."""
        return (self.other_audio or OtherClip()).sounds

    @property
    def media_options(self) -> Mapping[str, Any]:
        """See `MediaLanguage.media_options`."""
        return {"long_sounds": self.long_sounds}

    def prompt_of(self, row: Mapping[str, Any], column: str) -> Any:
        """See `Modality.prompt_of`: a chat with the sounds of the column `audios` or `audio`."""
        return row_prompt(row, column, SOUND)

    def check_tower(self, policy: Any) -> None:
        """See `MediaLanguage.check_tower`."""
        check_no_adapter(policy)
        check_audio_tokens(policy, self._tokens, self.medium)
