"""`modalign plugins`: what is registered, by whom, and what failed."""

from modalign.commands.console import table
from modalign.plugins.command_parser import CommandParser
from modalign.plugins.manager import registry
from modalign.plugins.registry import KINDS, Registry


def main(argv: list[str]) -> int:
    """Print the registry, or one kind of it."""
    parser = CommandParser("plugins", "Show what is registered, by which plugin, and what failed.")
    parser.add_argument("kind", nargs="?", choices=tuple(KINDS), help="show this kind only")
    kind = parser.parse_args(argv).kind
    found = registry()
    print("\n\n".join(_sections(found, [kind] if kind else list(KINDS))))
    return 0


def _sections(found: Registry, kinds: list[str]) -> list[str]:
    sections = []
    for kind in kinds:
        rows = [(entry.name, entry.summary, _origin(entry.plugin)) for entry in found.entries(kind)]
        sections.append(f"{kind}\n{table(rows) if rows else '  (none)'}")
    if found.failures:
        failed = "\n".join(f"  {failure}" for failure in found.failures)
        sections.append(f"failed\n{failed}")
    if found.disabled:
        blocked = "\n".join(f"  {plugin}" for plugin in found.disabled)
        sections.append(f"disabled by MODALIGN_DISABLE_PLUGINS\n{blocked}")
    return sections


def _origin(plugin: object) -> str:
    return str(plugin).removeprefix("plugin ")
