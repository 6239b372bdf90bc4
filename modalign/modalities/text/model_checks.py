"""Checks that a loaded model fits its tokenizer and its data, and can be saved again."""

from typing import Any

from modalign.core.errors import ConfigError, UserError


def check_vocabulary(model: Any, tokenizer: Any) -> None:
    """Refuse a tokenizer with ids the model has no embedding for."""
    rows = model.get_input_embeddings().num_embeddings
    largest = max(tokenizer.get_vocab().values())
    if largest >= rows:
        raise UserError(
            f"The tokenizer's largest token id is {largest}, but the model embeds only {rows} tokens.",
            "Use the tokenizer that belongs to the model (modality.tokenizer), or resize the model's embeddings.",
        )


def check_positions(model: Any, length: int, option: str) -> None:
    """Refuse sequences longer than the model was made for."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if positions is not None and length > positions:
        raise ConfigError(
            f"{option} is {length} tokens, but the model takes at most {positions}.",
            f"Set modality.max_length to {positions} or less.",
        )


def repair_generation_config(model: Any) -> None:
    """Repair what would make transformers refuse to save the model after training.

    Some published generation configs set sampling options without `do_sample`, which loads but cannot be saved.

    Raises:
        UserError: The generation config is invalid in another way.
    """
    config = model.generation_config
    try:
        config.validate(strict=True)
    except ValueError:
        config.do_sample = True
    try:
        config.validate(strict=True)
    except ValueError as error:
        raise UserError(
            f"The model's generation_config.json is invalid, so the trained model could not be saved: {error}",
            "Correct that file.",
        ) from error
