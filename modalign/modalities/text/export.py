"""Writing a policy as a folder that transformers or peft loads, whole or not at all."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modalign.core.errors import UserError, did_you_mean
from modalign.modalities.folders import new_folder
from modalign.modalities.modes import is_peft_model, unwrapped
from modalign.modalities.text.loading import dropout_as_loaded, is_adapter


def export_policy(policy: Any, preprocessor: Any, folder: Path, card: str, merge: bool, overwrite: bool) -> None:
    """Write a policy with what makes its inputs, and a model card; the policy stays as it is.

    Args:
        policy: A transformers model, or a peft model around one.
        preprocessor: Its tokenizer or processor, written beside it.
        folder: Must not exist, unless `overwrite`.
        card: The text of README.md.
        merge: Whether an adapter is merged into a full model, rather than written alone.
        overwrite: Whether an existing folder is replaced.

    Raises:
        UserError: The folder exists; or merging was refused or asked for where it cannot be done.
    """
    adapted = is_peft_model(policy)
    if not merge and not adapted:
        raise UserError("Only an adapter can be written unmerged, and this policy has none.", "Leave `merge` at true.")
    if merge and adapted and getattr(unwrapped(policy), "is_quantized", False):
        raise UserError("An adapter cannot be merged into quantised weights.", "Export it with `merge: false`.")
    with new_folder(folder, overwrite) as target:
        if adapted and not merge:
            # The embeddings are never resized, and "auto" would ask the hub whether they were.
            policy.save_pretrained(target, save_embedding_layers=False)
        else:
            model = merged_copy(policy) if adapted else policy
            with dropout_as_loaded(model):
                model.save_pretrained(target)
        preprocessor.save_pretrained(target)
        (target / "README.md").write_text(card, encoding="utf-8")


def check_export(options: Mapping[str, Any], what: str, model: str, adapted: bool) -> None:
    """Refuse options of an export, before training.

    Args:
        options: By name.
        what: What is exported, for the message.
        model: What the policy started from.
        adapted: Whether it carries an adapter.

    Raises:
        UserError: An option is unknown, or cannot be had for this policy.
    """
    for name in options:
        if name not in ("merge", "overwrite"):
            raise UserError(f"Exporting {what} has no option {name!r}.", did_you_mean(name, ("merge", "overwrite")))
    if options.get("merge", True):
        return
    if not adapted:
        raise UserError(
            "Only an adapter can be written unmerged, and this policy has none.",
            "Leave --adapter out; in a config, export.options.merge.",
        )
    if is_adapter(model):
        raise UserError(
            f"The policy started from the adapter {model!r} merged into its base, so its own adapter fits no model "
            "that exists.",
            "Export it with `merge: true`.",
        )


def merged_copy(policy: Any) -> Any:
    """A full model with the adapter's change in its weights."""
    return copy.deepcopy(policy).merge_and_unload()
