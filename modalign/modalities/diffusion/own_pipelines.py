"""Pipeline classes that diffusers lacks: modalign's and plugins' own, and never a repository's."""

import ast
import inspect
import json
import shutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from modalign.core.errors import UserError

INDEX = "model_index.json"
CODE = "pipeline"
"""The name of the module that holds a pipeline's class in its folder, as diffusers looks for it."""


def class_name(index: Mapping[str, Any]) -> str:
    """The name of a pipeline's class, from the content of model_index.json.

    A list there is the module in the folder that has the class, and the class.
    """
    name = index["_class_name"]
    return str(name[-1] if isinstance(name, list) and name else name)


def has_own_code(index: Mapping[str, Any]) -> bool:
    """Whether a pipeline comes with a file that is to be run in place of diffusers' class."""
    return isinstance(index.get("_class_name"), list)


@cache
def own_pipeline(target: str) -> Any:
    """A class that a family names in `own_pipelines`, blind to the code that a folder of its kind may hold.

    diffusers would run that code even where it is told another class.

    Args:
        target: `package.module:Class`.

    Raises:
        UserError: There is no such class.
    """
    module, name = target.split(":")
    try:
        built = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"The pipeline class {target} cannot be imported: {error}.",
            "Install what is missing, or run `modalign doctor`.",
        ) from error

    def without_code(cls: Any, file: Any) -> Any:
        return {**_with_own_parts(super(blind, cls)._dict_from_json_file(file), module), "_class_name": name}

    members = {"__module__": built.__module__, "__doc__": built.__doc__}
    blind: Any = type(name, (built,), {**members, "_dict_from_json_file": classmethod(without_code)})
    return blind


def _with_own_parts(index: Mapping[str, Any], module: str) -> dict[str, Any]:
    """The content of model_index.json, with parts of classes beside a pipeline's own named by their real modules.

    In an exported folder they are named by a file that `write_code` put into the part's own folder, and that is not
    run; in others by those modules, which diffusers wants to have been imported.
    """
    named = dict(index)
    for part, value in index.items():
        if isinstance(value, list) and (own := _beside(module, value[0])) is not None:
            named[part] = [own, *value[1:]]
    return named


def _beside(module: str, name: Any) -> str | None:
    """The full name of a module in the package of another, imported; None where there is none."""
    package = module.rpartition(".")[0]
    own = name.removeprefix(f"{package}.") if isinstance(name, str) else ""
    found = f"{package}.{own}"
    if not own or "." in own or find_spec(found) is None:
        return None
    import_module(found)
    return found


def write_code(target: str, folder: Path) -> None:
    """Put a pipeline class's own file into its folder, so that plain diffusers loads it with `trust_remote_code=True`.

    Args:
        target: `package.module:Class`; the module and those beside it that it imports relatively are copied, and into
            each part's folder the module beside it that has the part's class.
        folder: As `save_pretrained` wrote it.
    """
    module, name = target.split(":")
    source = Path(inspect.getfile(import_module(module)))
    shutil.copyfile(source, folder / f"{CODE}.py")
    for beside in _imported_beside(source):
        shutil.copyfile(source.with_name(f"{beside}.py"), folder / f"{beside}.py")
    path = folder / INDEX
    index = {**json.loads(path.read_text(encoding="utf-8")), "_class_name": [CODE, name]}
    package = module.rpartition(".")[0]
    for part, value in index.items():
        if isinstance(value, list) and str(value[0]).rpartition(".")[0] == package:
            own = value[0].rpartition(".")[2]
            shutil.copyfile(source.with_name(f"{own}.py"), folder / part / f"{own}.py")
            index[part] = [own, *value[1:]]
    path.write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _imported_beside(source: Path) -> list[str]:
    """The modules that a file imports from its own package."""
    nodes = ast.walk(ast.parse(source.read_text(encoding="utf-8")))
    return sorted({node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level and node.module})
