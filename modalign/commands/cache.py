"""`modalign cache`: computes ahead what frozen encoders make of a config's data; trains nothing."""

from typing import TYPE_CHECKING, Any

from modalign.commands.precheck import precheck
from modalign.commands.quiet import no_bars_off_terminal, quiet_lightning
from modalign.core.errors import ConfigError, UserError

if TYPE_CHECKING:
    import torch

_HELP = """usage: modalign cache --config FILE [--dry-run] [options of fit]

Reads the data of a config and fills the disk caches of what frozen parts make of it, such as latents and prompt
encodings, which `fit` would do as it starts: for the training rows that the run gets to see, and for all other data.
Prints the cost first. What is there already is not computed again; a stopped run goes on where it stood, and several
may work at once. With --dry-run only the cost is printed.
"""
_DRY_RUN = "--dry-run"


def main(argv: list[str]) -> int:
    """Fill the caches, or tell what that would cost.

    Args:
        argv: `--dry-run`, and the options that `fit` would be given.

    Raises:
        UserError: The config is wrong, or its data cannot be read.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(_HELP, end="")
        return 0 if argv else 2
    options = [word for word in argv if word != _DRY_RUN]
    files = precheck("fit", options)
    no_bars_off_terminal()
    from modalign.commands.lightning_cli import ModalignCLI
    from modalign.commands.trainer_settings import ranks, run_length
    from modalign.core.callbacks.drift import DriftLog
    from modalign.core.run_length import ENDLESS

    quiet_lightning()
    config = ModalignCLI("fit", options, files, build=False).config["fit"]
    module, data = _built("model", config), _built("data", config)
    streaming, data.streaming = data.streaming, False
    data.connect(module.modality, module.objective)
    for stage in ("fit", "test") if data.paths["test"] else ("fit",):
        data.setup(stage)
    data.ask_probe(DriftLog().batches)
    # What a run sees of a stream is not known.
    length, world = ENDLESS if streaming else run_length(config.trainer), ranks(config.trainer)
    seen, rows = data.rows_seen(length, world)
    comparisons = data.readable(length, world)
    if not module.modality.prepare(comparisons, _device(config), only_tell=_DRY_RUN in argv):
        print(f"There is nothing to cache: the modality {module.modality.name!r} computes nothing ahead here.")
    elif seen < rows:
        print(
            f"cache: the run ends after {seen:,} of {rows:,} training rows, counted for {world} "
            f"rank{'s' * (world > 1)}; of the others nothing is kept"
        )
    return 0


def _built(section: str, config: Any) -> Any:
    from modalign.commands.check_build import MISTAKES
    from modalign.commands.sections import build_section

    try:
        return build_section(section, config[section])
    except UserError:
        raise
    except MISTAKES as error:
        raise ConfigError(f"{section}: {error}", "`modalign check` lists every problem.") from error


def _device(config: Any) -> "torch.device":
    """A GPU where there is one, unless the config's trainer works on the CPU."""
    import torch

    gpu = torch.cuda.is_available() and config.trainer.accelerator != "cpu"
    return torch.device("cuda" if gpu else "cpu")
