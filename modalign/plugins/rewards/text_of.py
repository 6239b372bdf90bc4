"""The text of a response, however it is written."""

from typing import Any

from modalign.core.errors import UserError


def text_of(response: Any) -> str:
    """A string as it is; of chat messages, their contents in order.

    Raises:
        UserError: The response is neither.
    """
    if isinstance(response, str):
        return response
    if isinstance(response, list) and all(isinstance(m, dict) and isinstance(m.get("content"), str) for m in response):
        return "\n".join(message["content"] for message in response)
    raise UserError(
        f"A text reward was given a response of type {type(response).__name__}.",
        "Score strings or lists of chat messages.",
    )
