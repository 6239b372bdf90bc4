"""Which pip extra of modalign brings a package that is missing."""

import re
from collections import defaultdict
from importlib import metadata

_IMPORT_NAMES = {"open_clip": "open-clip-torch", "PIL": "pillow", "sklearn": "scikit-learn", "faiss": "faiss-cpu"}
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+).*extra == [\"'](?P<extra>[^\"']+)[\"']")


def missing_package(error: ModuleNotFoundError) -> str | None:
    """What to install after an import has failed; None where no extra brings what is missing."""
    module = (error.name or "").split(".")[0]
    package = _normal(_IMPORT_NAMES.get(module, module))
    contents = _extras()
    bringing = [extra for extra, packages in contents.items() if package in packages]
    smallest = [extra for extra in bringing if not any(contents[other] < contents[extra] for other in bringing)]
    return "pip install " + " or ".join(f"'modalign[{extra}]'" for extra in sorted(smallest)) if smallest else None


def _extras() -> dict[str, set[str]]:
    """The packages of each extra."""
    contents: dict[str, set[str]] = defaultdict(set)
    for requirement in metadata.requires("modalign") or []:
        match = _REQUIREMENT.match(requirement)
        if match and match["extra"] != "dev":
            contents[match["extra"]].add(_normal(match["name"]))
    return contents


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
