"""One seed of the demonstration: learn digits, rank own pictures, align, and measure beside the controls.

Each function with a seed or a policy for an argument is run in a process of its own: all it is given and gives back is
plain data.
"""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from modalign.core.keys import key_seed
from modalign.core.reward import Reward
from modalign.modalities.image.modality import Image
from modalign.modalities.image.quickstart.digits import CAPTIONS, DigitJudge
from modalign.modalities.image.quickstart.measurement import Examination, Measured
from modalign.modalities.image.quickstart.pipeline import write_pipeline
from modalign.modalities.image.quickstart.plan import Plan, modality_options
from modalign.modalities.image.quickstart.preference import REWARD, Preferences, rank_own, shuffled_scores
from modalign.modalities.quickstart.coins import toss_coins
from modalign.modalities.quickstart.evaluation import as_comparisons
from modalign.modalities.quickstart.policies import Policy
from modalign.modalities.quickstart.seeds import Aligned, Learned, SeedFolders
from modalign.modalities.quickstart.stages import built, export, fit, log_to, write_rows

# One for all seeds, which are then compared on the same noises.
EXAMINATION_SEED = key_seed("examination")


@dataclass(frozen=True)
class Task(SeedFolders):
    """What all seeds share.

    Attributes:
        plan: How large everything is.
        captioned: A file of rows of a caption and a real digit.
    """

    plan: Plan
    captioned: Path


def learn(task: Task, seed: int) -> Learned[Preferences, Measured]:
    """A pipeline with random weights learns the digits by SFT; its own pictures are ranked."""
    folder, plan = task.seed_folder(seed), task.plan
    with log_to(folder / "log.txt"):
        write_pipeline(folder / "random", plan.channels, seed)
        options = modality_options(folder / "random", folder)
        config = plan.learn.config("image", options, task.captioned, folder / "learn", seed)
        module = fit(config)
        export(module, config, {}, "A small model that draws digits", task.start(seed))
        count = plan.size * (plan.lists + plan.held_out)
        drawn = module.modality.sample(
            module.policy, CAPTIONS, n=count, seed=key_seed(seed, "own pictures"), **plan.sampling
        )
        preferences = rank_own(
            module.modality, CAPTIONS, drawn, plan.size, plan.held_out, preferred(), folder / "pictures"
        )
        write_preferences(preferences, folder, seed)
        return Learned(seed, preferences, _examination(task, seed, preferences, module.policy).measure(module.policy))


def align(task: Task, learned: Learned[Preferences, Measured], policy: Policy) -> Aligned[Measured]:
    """Train one policy from its seed's start, and measure it."""
    seed, folder = learned.seed, task.seed_folder(learned.seed)
    options = modality_options(task.start(seed), folder)
    config = policy.stage.config("image", options, folder / policy.rows, folder / policy.folder, seed)
    with log_to(folder / policy.folder / "log.txt"):
        module = fit(config)
        examination = _examination(task, seed, learned.preferences, module.modality.load())
        measured = examination.measure(module.policy, learned.measured.reward)
        if not policy.coin:
            title = f"A small model that draws bold digits: {policy.title}"
            export(module, config, measured.means(), title, task.aligned(seed, policy))
    return Aligned(seed, policy.title, measured)


def preferred() -> Reward:
    """The judge of the preference."""
    reward: Reward = built("reward", REWARD)
    return reward


def write_preferences(preferences: Preferences, folder: Path, seed: int) -> None:
    """Write pairs and lists, each also with labels drawn by coin, beside the pictures that they name."""
    pairs = [ranked.as_pair() for ranked in preferences.train]
    lists = [ranked.as_list() for ranked in preferences.train]
    write_rows(pairs, folder / "pairs.jsonl")
    write_rows(toss_coins(pairs, seed), folder / "coin_pairs.jsonl")
    write_rows(lists, folder / "lists.jsonl")
    write_rows(shuffled_scores(lists, seed), folder / "coin_lists.jsonl")
    write_rows((ranked.as_pair() for ranked in preferences.held_out), folder / "held_out_pairs.jsonl")


def _examination(task: Task, seed: int, preferences: Preferences, start: nn.Module) -> Examination:
    plan = task.plan
    pairs = [ranked.as_pair() for ranked in preferences.held_out]
    return Examination(
        modality=Image(str(task.start(seed)), draws=plan.error_draws, cache="off"),
        captions=CAPTIONS,
        pictures=plan.pictures,
        seed=EXAMINATION_SEED,
        sampling=plan.sampling,
        pairs=as_comparisons(pairs, task.seed_folder(seed)),
        start=start,
        reward=preferred(),
        judge=DigitJudge(),
    )
