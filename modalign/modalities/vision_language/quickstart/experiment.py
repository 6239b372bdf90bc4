"""One seed of the demonstration: learn to describe, pair own descriptions, align, and measure beside the controls.

Each function with a seed or a policy for an argument is run in a process of its own: all it is given and gives back is
plain data.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from modalign.core.keys import key_seed
from modalign.core.module import PreferenceModule
from modalign.modalities.quickstart.coins import toss_coins
from modalign.modalities.quickstart.policies import Policy
from modalign.modalities.quickstart.seeds import Aligned, Learned, SeedFolders
from modalign.modalities.quickstart.stages import export, fit, log_to, write_rows
from modalign.modalities.vision_language.modality import VisionLanguage
from modalign.modalities.vision_language.quickstart.measurement import Examination, Measured, describe_all
from modalign.modalities.vision_language.quickstart.model import MAX_LENGTH, write_model
from modalign.modalities.vision_language.quickstart.plan import Plan, modality_options
from modalign.modalities.vision_language.quickstart.preference import Pair, Pairs, pair_up, retrieve
from modalign.modalities.vision_language.quickstart.world import Picture, World

# One for all seeds, which are then compared on the same draws.
EXAMINATION_SEED = key_seed("examination")


@dataclass(frozen=True)
class Task(SeedFolders):
    """What all seeds share.

    Attributes:
        plan: How large everything is.
        world: The pictures.
    """

    plan: Plan
    world: World


def learn(task: Task, seed: int) -> Learned[Pairs, Measured]:
    """A model with random weights learns to describe by SFT; its own descriptions are paired."""
    folder, plan = task.seed_folder(seed), task.plan
    with log_to(folder / "log.txt"):
        texts = (row[column] for row in task.world.descriptions for column in ("prompt", "completion"))
        write_model(texts, folder / "random", plan.hidden_size, seed)
        options, rows = modality_options(folder / "random"), task.folder / "descriptions.jsonl"
        config = plan.learn.config("vision_language", options, rows, folder / "learn", seed)
        module = fit(config)
        export(module, config, {}, "A small model that describes pictures", task.start(seed))
        train, held_out = (_own_pairs(task, module, each, seed) for each in (task.world.ranked, task.world.held_out))
        pairs = Pairs(train, held_out, len(task.world.ranked) - len(train))
        _write_pairs(pairs, folder, seed)
        return Learned(seed, pairs, _examination(task, seed, pairs, module.policy).measure(module.policy))


def align(task: Task, learned: Learned[Pairs, Measured], policy: Policy) -> Aligned[Measured]:
    """Train one policy from its seed's start, and measure it."""
    seed, folder = learned.seed, task.seed_folder(learned.seed)
    options = modality_options(task.start(seed))
    config = policy.stage.config("vision_language", options, folder / policy.rows, folder / policy.folder, seed)
    with log_to(folder / policy.folder / "log.txt"):
        module = fit(config)
        measured = _examination(task, seed, learned.preferences, module.modality.load()).measure(module.policy)
        if not policy.coin:
            title = f"A small model that describes what is there: {policy.title}"
            export(module, config, measured.means(), title, task.aligned(seed, policy))
    return Aligned(seed, policy.title, measured)


def _own_pairs(task: Task, module: PreferenceModule, pictures: Sequence[Picture], seed: int) -> list[Pair]:
    """Pairs of the start's own descriptions."""
    plan, prompts = task.plan, [picture.prompt(task.folder) for picture in pictures]
    drawn = describe_all(
        module.modality, module.policy, prompts, plan.draws, key_seed(seed, "own descriptions"), plan.sampling
    )
    return list(pair_up(pictures, drawn, retrieve(module.modality, module.policy, pictures, task.folder)))


def _write_pairs(pairs: Pairs, folder: Path, seed: int) -> None:
    rows = [pair.row("..") for pair in pairs.train]
    write_rows(rows, folder / "pairs.jsonl")
    write_rows(toss_coins(rows, seed), folder / "coin_pairs.jsonl")
    write_rows((pair.row("..") for pair in pairs.held_out), folder / "held_out_pairs.jsonl")


def _examination(task: Task, seed: int, pairs: Pairs, start: nn.Module) -> Examination:
    return Examination(
        modality=VisionLanguage(str(task.start(seed)), max_length=MAX_LENGTH),
        pictures=task.world.unseen,
        pairs=pairs.held_out,
        start=start,
        folder=task.folder,
        samples=task.plan.samples,
        seed=EXAMINATION_SEED,
        sampling=task.plan.sampling,
    )
