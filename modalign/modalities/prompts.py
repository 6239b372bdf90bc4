"""The prompts of models that make something of a text."""

from modalign.core.batch import Candidate, Comparison
from modalign.core.errors import RowError


def text_prompt(comparison: Comparison, candidate: Candidate) -> str:
    """The prompt a candidate is judged under.

    Raises:
        RowError: It is not text.
    """
    prompt = comparison.prompt if candidate.context is None else candidate.context
    if not isinstance(prompt, str):
        raise RowError(
            f"the prompt is not text: it is of the type {type(prompt).__name__}",
            "Give each row a prompt; an empty one stands for none.",
        )
    return prompt
