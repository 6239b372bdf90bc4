"""`modalign quickstart [MODALITY]`: each modality's own demonstration."""

from importlib.util import find_spec

from modalign.core.errors import UserError
from modalign.plugins.manager import registry
from modalign.plugins.registry import Entry
from modalign.plugins.targets import import_target


def main(argv: list[str]) -> int | None:
    """Run the `quickstart` module that stands beside a modality's own, `text` where none is named.

    A hyphen in the name stands for an underscore.
    """
    named = bool(argv) and not argv[0].startswith("-")
    name, rest = (argv[0].replace("-", "_"), argv[1:]) if named else ("text", argv)
    entry = registry().entry("modality", name)
    home = _home(entry)
    if find_spec(home) is None:
        raise UserError(f"the modality {name!r} of {entry.plugin} has no quickstart")
    run = import_target(Entry("quickstart", name, f"{home}:main", entry.plugin, extra=entry.extra), base="")
    status: int | None = run(rest)
    return status


def _home(entry: Entry) -> str:
    package = entry.target.split(":")[0].rpartition(".")[0]
    return f"{package}.quickstart" if package else "quickstart"
