"""What of a tokenizer and its settings decides a log-probability, as one hash."""

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any


def text_fingerprint(tokenizer: Any, settings: Mapping[str, Any]) -> str:
    """A hash of a tokenizer's whole content and of settings made of plain values.

    The version of transformers is part of it, since a release may change how a model is computed.
    """
    import transformers

    content = {
        "tokenizer": _tokenizer_content(tokenizer),
        "chat_template": tokenizer.chat_template,
        "transformers": transformers.__version__,
        **settings,
    }
    return blake2b(json.dumps(content, sort_keys=True, default=repr).encode(), digest_size=16).hexdigest()


def _tokenizer_content(tokenizer: Any) -> list[Any]:
    """Everything in a fast tokenizer is in its serialised form; of others, their vocabulary and special tokens."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = None if backend is None else backend.to_str()
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    return [type(tokenizer).__name__, rules, sorted(tokenizer.get_vocab().items()), special]
