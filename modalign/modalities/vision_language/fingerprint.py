"""What of a processor decides a log-probability."""

from typing import Any


def processor_content(processor: Any, part: Any) -> dict[str, Any]:
    """A processor's settings and those of the part of it that processes media; its tokenizer is hashed apart."""
    own = {
        name: value
        for name, value in vars(processor).items()
        if isinstance(value, str | int | float | bool | None) and not name.startswith("_") and name != "chat_template"
    }
    return {
        "class": type(processor).__name__,
        "settings": own,
        "chat_template": processor.chat_template,
        "media": {"class": type(part).__name__, **part.to_dict()},
    }
