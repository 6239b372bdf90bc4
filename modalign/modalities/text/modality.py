"""The text modality: causal language models that read and write text or chats."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from modalign.core.batch import Candidate, Comparison, Example, Likelihood, PreferenceBatch
from modalign.core.errors import ConfigError, UserError, did_you_mean
from modalign.core.objectives.base import Needs
from modalign.modalities.lora import Lora
from modalign.modalities.lora_modality import LoraModality
from modalign.modalities.modes import unwrapped
from modalign.modalities.text.chat import is_chat, read_chat_template
from modalign.modalities.text.collation import LAYOUTS, Layout, collate
from modalign.modalities.text.corrected_tokens import PROVIDES, corrected_sums
from modalign.modalities.text.encoding import TextCell, TextEncoder
from modalign.modalities.text.export import check_export, export_policy
from modalign.modalities.text.fingerprint import text_fingerprint
from modalign.modalities.text.generation import (
    LayOut,
    Prompted,
    Special,
    generate,
    left_padded,
    stop_tokens,
    text_prompt,
)
from modalign.modalities.text.loading import (
    Dtype,
    LoadOptions,
    Quantization,
    load_model,
    load_tokenizer,
)
from modalign.modalities.text.logprobs import completion_logps, completion_logps_partly_free, token_grid
from modalign.modalities.text.model_checks import check_positions, check_vocabulary, repair_generation_config
from modalign.modalities.text.other_prompt import ANSWERS, under_other_prompt
from modalign.modalities.text.preparation import prepare_for_training
from modalign.modalities.text.sampling_options import sampling_options
from modalign.modalities.text.tokenization import BoundaryTokenizer
from modalign.modalities.text.truncation import Limits, Truncation

Scalar = str | int | float | bool | None


class Text(LoraModality):
    """Causal language models; prompts and responses are strings, or lists of chat messages.

    Args:
        model: Hub id or local folder of any `AutoModelForCausalLM`, or of a peft adapter (merged into its base).
        tokenizer: Hub id or folder, where it is not the model's.
        revision: Branch, tag or commit of a hub id.
        trust_remote_code: Whether a repository's own Python code may run.
        dtype: Of the weights; "auto" takes the checkpoint's. Log-probabilities are reduced in float32 regardless.
        attn_implementation: "sdpa", "eager", "flash_attention_2"...; null lets transformers choose.
        quantization: Load frozen weights in 4 or 8 bits through bitsandbytes (QLoRA); needs `lora`.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, about a third more time.
        disable_dropout: Set the model's dropout to 0, so that policy and reference see the same network.
        lora: Train a low-rank adapter; null trains all weights.
        chat_template: A Jinja file or text, in place of the tokenizer's.
        chat_template_kwargs: Variables for the chat template, such as `enable_thinking`.
        max_length: Most tokens of a prompt with its response; longer prompts are cut. null for no limit.
        max_prompt_length: Most tokens of a prompt.
        max_completion_length: Cut every response there; null never cuts a response.
        truncation: Which part of a prompt that is too long is kept; "error" makes its row a bad row.
        add_eos: End responses in the end-of-sequence token, so that stopping is learned.
        layout: How prompts and responses become rows. "padded": one response with its prompt a row. "packed": all in
            one row, without padding; pays with flash attention, since others compare a row's every pair of tokens.
            "shared_prompt": a prompt is computed once for all its responses; pays where prompts are long. Both are
            refused for models that they would change, and "shared_prompt" for flash attention.
        chunk_size: How many tokens' logits are held at once.

    Raises:
        UserError: Two options contradict each other, or one is out of its range.
    """

    name: ClassVar[str] = "text"
    provides: ClassVar[frozenset[str]] = PROVIDES
    extra_roles: ClassVar[frozenset[str]] = frozenset(ANSWERS)

    def __init__(
        self,
        model: str,
        tokenizer: str | None = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
        dtype: Dtype = "float32",
        attn_implementation: str | None = None,
        quantization: Quantization | None = None,
        gradient_checkpointing: bool = False,
        disable_dropout: bool = True,
        lora: Lora | None = None,
        chat_template: str | None = None,
        chat_template_kwargs: dict[str, Scalar] | None = None,
        max_length: int | None = 1024,
        max_prompt_length: int | None = None,
        max_completion_length: int | None = None,
        truncation: Truncation = "keep_end",
        add_eos: bool = True,
        layout: Layout = "padded",
        chunk_size: int = 512,
    ) -> None:
        self.model = model
        self.tokenizer_name = tokenizer or model
        self.loading = LoadOptions(
            revision, trust_remote_code, dtype, attn_implementation, quantization, disable_dropout
        )
        self.gradient_checkpointing = gradient_checkpointing
        self.lora = lora
        self.chat_template = read_chat_template(chat_template)
        self.chat_template_kwargs = chat_template_kwargs or {}
        self.limits = Limits(max_length, max_prompt_length, max_completion_length, truncation)
        self.add_eos = add_eos
        self.layout = layout
        self.chunk_size = chunk_size
        self._check_options()

    def _check_options(self) -> None:
        if self.loading.quantization is not None and self.lora is None:
            raise UserError(
                "modality.quantization loads weights that cannot be trained, and there is no modality.lora to train.",
                "Add modality.lora, or drop modality.quantization.",
            )
        if self.lora is not None and self.lora.dropout > 0 and self.loading.disable_dropout:
            raise UserError(
                f"modality.lora.dropout is {self.lora.dropout}, while modality.disable_dropout is true.",
                "Set one of them: dropout 0.0, or disable_dropout false.",
            )
        if self.layout not in LAYOUTS:
            raise UserError(f"modality.layout is {self.layout!r}.", did_you_mean(str(self.layout), LAYOUTS))
        if self.layout == "shared_prompt" and self.loading.attn_implementation not in (None, "sdpa", "eager"):
            raise UserError(
                f"modality.layout is shared_prompt, which {self.loading.attn_implementation} has no mask for.",
                "Set modality.attn_implementation to sdpa, or modality.layout to packed.",
            )
        if self.chunk_size < 1:
            raise UserError(f"modality.chunk_size is {self.chunk_size}; it counts tokens.", "512 is a good value.")

    @cached_property
    def tokenizer(self) -> Any:
        """The transformers tokenizer, loaded when it is first used; data workers receive it with this object."""
        revision = self.loading.revision if self.tokenizer_name == self.model else None
        tokenizer = load_tokenizer(self.tokenizer_name, revision, self.loading.trust_remote_code)
        if self.add_eos and tokenizer.eos_token_id is None:
            raise UserError(
                f"The tokenizer {self.tokenizer_name!r} has no end-of-sequence token to end responses with.",
                "Set modality.add_eos to false, or name another modality.tokenizer.",
            )
        if self.chat_template is not None:
            tokenizer.chat_template = self.chat_template
        return tokenizer

    @cached_property
    def encoder(self) -> TextEncoder:
        """What turns comparisons into tokens."""
        tokens = BoundaryTokenizer(self.tokenizer, self.add_eos, self.chat_template_kwargs)
        return TextEncoder(tokens, self.limits)

    def load(self, model: str | None = None) -> nn.Module:
        """See `Modality.load`.

        Raises:
            UserError: The model cannot be found or loaded, or does not fit the tokenizer, the adapter or `max_length`.
        """
        policy = load_model(model or self.model, self._load_options(model))
        self._check_model(policy)
        return prepare_for_training(policy, self.lora, self.gradient_checkpointing)

    def _load_options(self, model: str | None) -> LoadOptions:
        """How another model is loaded: the revision belongs to the modality's own."""
        return self.loading if model is None else replace(self.loading, revision=None)

    def _check_model(self, policy: Any) -> None:
        """Refuse a model that does not fit the tokenizer or `max_length`, and one that could not be saved."""
        check_vocabulary(policy, self.tokenizer)
        if self.limits.max_length is not None:
            check_positions(policy, self.limits.max_length, "modality.max_length")
        repair_generation_config(policy)

    def encode(self, comparison: Comparison) -> Example:
        """See `Modality.encode`; sizes are the scored tokens, the end-of-sequence token among them."""
        return self.encoder.encode(comparison)

    def extra_candidate(self, comparison: Comparison, role: str, other: Comparison | None) -> Candidate:
        """See `Modality.extra_candidate`: responses under another prompt, which the data brings along."""
        return under_other_prompt(comparison, role)

    def collate_cells(self, cells: Sequence[TextCell]) -> dict[str, Any]:
        """See `modalign.modalities.text.collation` for the tensors."""
        return collate(cells, self.layout)

    def likelihood(self, model: nn.Module, batch: PreferenceBatch, needs: Needs) -> Likelihood:
        """The summed log-probabilities of completion tokens, all cells in one forward.

        Raises:
            ConfigError: `needs` names something this modality does not compute, a sequence is longer than the model
                takes, or the model cannot run the layout.
        """
        self._check_needs(needs)
        inputs = batch.inputs
        check_positions(unwrapped(model), inputs["longest"], "A sequence")
        if needs.no_grad_roles and torch.is_grad_enabled():
            free = batch.cells_of(needs.no_grad_roles)
            logps = completion_logps_partly_free(model, inputs, self.chunk_size, free)
        else:
            logps = completion_logps(model, inputs, self.chunk_size)
        cells = logps.new_zeros(int(batch.mask.sum())).index_add(0, inputs["cells"], logps)
        likelihood = Likelihood(batch.scatter(cells), batch.sizes)
        if needs.extra:
            likelihood.extra.update(corrected_sums(logps, batch))
        if needs.token_logps:
            likelihood.token_logps, likelihood.token_mask = token_grid(logps, batch)
        return likelihood

    def _check_needs(self, needs: Needs) -> None:
        for name in sorted(needs.extra - self.provides):
            raise ConfigError(f"The {self.name} modality cannot compute {name!r}.", did_you_mean(name, self.provides))

    def fingerprint(self) -> str:
        """See `Modality.fingerprint`: everything that decides which tokens are scored and how they are computed."""
        return text_fingerprint(
            self.tokenizer,
            {
                "dtype": self.loading.dtype,
                "attn_implementation": self.loading.attn_implementation,
                "quantization": self.loading.quantization,
                "trust_remote_code": self.loading.trust_remote_code,
                "chat_template_kwargs": self.chat_template_kwargs,
                "limits": asdict(self.limits),
                "add_eos": self.add_eos,
            },
        )

    def sample(
        self, model: nn.Module, prompts: Sequence[Any], n: int = 1, seed: int = 0, **options: Any
    ) -> list[list[Any]]:
        """Generate `n` responses to each prompt, strings for strings and an assistant's message for chats.

        Args:
            model: The policy.
            prompts: Strings or lists of messages.
            n: Responses a prompt.
            seed: The same seed and prompt give the same responses, whatever else is sampled with them.
            **options: See `SamplingOptions`.

        Raises:
            UserError: An option is unknown or out of range, or a prompt cannot be encoded.
        """
        chosen = sampling_options(options)
        room = self._prompt_room(model, chosen.max_new_tokens)
        encoded = [self._prompted(prompt, room) for prompt in prompts]
        special = self._special_tokens(model)
        responses = generate(model, encoded, n, seed, special, chosen, self._lay_out(special.pad))
        return [
            [self._response(prompt, tokens) for tokens in drawn]
            for prompt, drawn in zip(prompts, responses, strict=True)
        ]

    def check_sampling(self, options: Mapping[str, Any]) -> None:
        """See `Modality.check_sampling`."""
        sampling_options(options)

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
        """Write a transformers folder (or, unmerged, a peft folder) with model card and tokenizer or processor.

        It is written whole or not at all.

        Args:
            model: The policy; it is not changed.
            folder: Must not exist, unless `overwrite`.
            card: The text of README.md.
            merge: Whether an adapter is merged into a full model, rather than written alone.
            overwrite: Whether an existing folder is replaced.
            **options: Refused: there are no others.

        Raises:
            UserError: The folder exists or cannot be written, or the adapter can only be written otherwise.
        """
        self.check_export({"merge": merge, **options})
        export_policy(model, self._preprocessor, folder, card, merge, overwrite)

    def check_export(self, options: Mapping[str, Any]) -> None:
        """See `Modality.check_export`."""
        check_export(options, self.name, self.model, self.lora is not None)

    def library(self, options: Mapping[str, Any]) -> str:
        """See `Modality.library`."""
        return "transformers" if options.get("merge", True) else "peft"

    def preview(self, prompt: Any, response: Any) -> str:
        """See `Modality.preview`; chats are shown turn by turn."""
        return f"{_readable(prompt)}\n{_readable(response)}"

    def _prompt_room(self, model: nn.Module, new_tokens: int) -> int | None:
        """Most tokens of a prompt to generate from: what training allowed, and what the model's positions leave."""
        config = unwrapped(model).config.get_text_config()
        positions = getattr(config, "max_position_embeddings", None)
        if positions is not None and new_tokens >= positions:
            raise UserError(
                f"max_new_tokens is {new_tokens}, and the model takes {positions} tokens, its prompt included.",
                "Ask for fewer new tokens.",
            )
        left = None if positions is None else positions - new_tokens
        limits = (self.limits.max_prompt_length, self.limits.max_length, left)
        return min((limit for limit in limits if limit is not None), default=None)

    @property
    def _preprocessor(self) -> Any:
        """What is written beside an exported model."""
        return self.tokenizer

    def _prompted(self, prompt: Any, room: int | None) -> Prompted:
        """A prompt to generate from, of at most `room` tokens."""
        return text_prompt(self.encoder.encode_prompt(prompt, room))

    def _special_tokens(self, model: nn.Module) -> Special:
        eos = self.tokenizer.eos_token_id
        pad = next((token for token in (self.tokenizer.pad_token_id, eos) if token is not None), 0)
        return Special(pad, stop_tokens(model, eos))

    def _lay_out(self, pad: int) -> LayOut:
        """How prompts to generate from become batches."""
        return partial(left_padded, pad=pad)

    def _response(self, prompt: Any, tokens: list[int]) -> Any:
        text = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return [{"role": "assistant", "content": text}] if is_chat(prompt) else text


def _readable(value: Any) -> str:
    if not is_chat(value):
        return str(value)
    return "\n".join(f"{message['role']}: {message['content']}" for message in value)
