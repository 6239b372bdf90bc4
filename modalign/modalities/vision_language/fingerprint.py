"""What of a processor decides a log-probability."""

from typing import Any


def processor_content(processor: Any) -> dict[str, Any]:
    """A processor's settings and those of its image processor; its tokenizer is hashed apart."""
    images = processor.image_processor
    own = {
        name: value
        for name, value in vars(processor).items()
        if isinstance(value, str | int | float | bool | None) and not name.startswith("_") and name != "chat_template"
    }
    return {
        "class": type(processor).__name__,
        "settings": own,
        "chat_template": processor.chat_template,
        "images": {"class": type(images).__name__, **images.to_dict()},
    }
