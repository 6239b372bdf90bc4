"""`modalign recipes`: the configs that come with the package."""

import shutil
from pathlib import Path

import modalign
from modalign.commands.console import table
from modalign.core.errors import UserError, did_you_mean
from modalign.plugins.command_parser import CommandParser


def main(argv: list[str]) -> int:
    """List, show or copy recipes."""
    parser = CommandParser("recipes", "Ready configs: list them, read one, copy one to change it.")
    parser.add_argument("action", choices=("list", "show", "copy"))
    parser.add_argument("name", nargs="?", help="such as text/dpo, or dpo where that is clear")
    parser.add_argument("destination", nargs="?", type=Path, help="a file or folder; the current folder if left out")
    options = parser.parse_args(argv)
    if options.action == "list":
        if options.name:
            parser.error(f"list takes no name, and was given {options.name!r}")
        _list()
        return 0
    if not options.name:
        parser.error(f"{options.action} needs the name of a recipe")
    if options.action == "show":
        print(find(options.name).read_text(encoding="utf-8"), end="")
    else:
        _copy(find(options.name), options.destination or Path())
    return 0


def folder() -> Path:
    """Where the recipes lie: in the installed package, or beside it in a source checkout.

    Raises:
        UserError: There are none.
    """
    package = Path(modalign.__file__).parent
    for candidate in (package / "configs", package.parent / "configs"):
        if candidate.is_dir():
            return candidate
    raise UserError(f"no recipes were found in {package}", "The installation is incomplete: install modalign again.")


def recipes() -> dict[str, Path]:
    """Every recipe by name, such as `text/dpo`."""
    root = folder()
    found = {path.relative_to(root).with_suffix("").as_posix(): path for path in root.rglob("*.yaml")}
    return dict(sorted(found.items()))


def find(name: str) -> Path:
    """The recipe of this name.

    Args:
        name: `text/dpo`, `text/dpo.yaml`, or `dpo` where one modality alone has it.

    Raises:
        UserError: There is none, or there are several.
    """
    known = recipes()
    wanted = name.removeprefix("configs/").removesuffix(".yaml")
    matches = [wanted] if wanted in known else [full for full in known if full.rpartition("/")[2] == wanted]
    if len(matches) > 1:
        raise UserError(f"several recipes are called {name!r}: {', '.join(matches)}", "Give the full name.")
    if not matches:
        raise UserError(f"no recipe is called {name!r}; {did_you_mean(wanted, known)}")
    return known[matches[0]]


def _list() -> None:
    rows = [(name, _summary(path)) for name, path in recipes().items()]
    print(table(rows, indent="") if rows else "(none)")


def _summary(path: Path) -> str:
    """The first comment that is a sentence, not a command."""
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#").strip()
        if line.startswith("#") and text and not text.startswith("modalign "):
            return text
    return ""


def _copy(recipe: Path, destination: Path) -> None:
    target = destination / recipe.name if destination.is_dir() else destination
    if target.exists():
        raise UserError(f"{target} exists already", "Give another name, or remove it first.")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(recipe, target)
    print(f"{target}\nRun it with: modalign fit --config {target}")
