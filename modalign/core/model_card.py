"""The README of an exported model, filled in from the run that made it."""

from collections.abc import Mapping
from typing import Any

import yaml

import modalign

CARD = """---
{library}tags:
- modalign
- {objective}
base_model: {base}
---

# {title}

Trained with [modalign](https://pypi.org/project/modalign/) {version}: objective `{objective}`, {steps} optimiser steps.

- Base model: `{base}`
- Data: {data}

## Last metrics

{metrics}

## Configuration

```yaml
{config}```
"""


def model_card(
    config: Mapping[str, Any],
    metrics: Mapping[str, float],
    steps: int,
    title: str = "Aligned model",
    library: str = "",
) -> str:
    """Markdown with front matter.

    Args:
        config: The run's config, as plain values.
        metrics: The metrics last logged.
        steps: Optimiser steps taken.
        title: The heading.
        library: What loads the folder, as `Modality.library` says; left out where empty.
    """
    model, data = config.get("model") or {}, config.get("data") or {}
    objective = str((model.get("objective") or {}).get("class_path", "unknown")).rsplit(".", 1)[-1]
    options = (model.get("modality") or {}).get("init_args") or {}
    rows = [f"| {name} | {value:.4g} |" for name, value in sorted(metrics.items())]
    table = "\n".join(["| metric | value |", "|---|---|", *rows]) if rows else "None were logged."
    return CARD.format(
        library=f"library_name: {library}\n" if library else "",
        objective=objective.lower(),
        base=options.get("model", "unknown"),
        title=title,
        version=modalign.__version__,
        steps=steps,
        data=", ".join(f"`{path}`" for path in _paths(data.get("train"))) or "unknown",
        metrics=table,
        config=yaml.safe_dump(dict(config), sort_keys=False),
    )


def _paths(train: Any) -> list[str]:
    return [train] if isinstance(train, str) and train else list(train or [])
