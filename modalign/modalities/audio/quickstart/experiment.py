"""One seed of the demonstration: learn sounds, align to pairs of sounds, and measure beside the controls.

Each function with a seed or a policy for an argument is run in a process of its own: all it is given and gives back is
plain data.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modalign.core.callbacks.drift import DriftLog
from modalign.core.keys import key_seed
from modalign.modalities.audio.modality import Audio
from modalign.modalities.audio.quickstart.judging import OrderJudge
from modalign.modalities.audio.quickstart.measurement import Examination, Measured
from modalign.modalities.audio.quickstart.pipeline import write_pipeline
from modalign.modalities.audio.quickstart.plan import Plan, modality_options
from modalign.modalities.audio.quickstart.preference import Pair, write_pairs
from modalign.modalities.audio.quickstart.sounds import CAPTIONS
from modalign.modalities.diffusion.timesteps import Timesteps
from modalign.modalities.quickstart.coins import toss_coins
from modalign.modalities.quickstart.evaluation import as_comparisons
from modalign.modalities.quickstart.policies import Policy
from modalign.modalities.quickstart.seeds import Aligned, Learned, SeedFolders
from modalign.modalities.quickstart.stages import export, fit, log_to, write_rows

# One for all seeds, which are then compared on the same noises.
EXAMINATION_SEED = key_seed("examination")


@dataclass(frozen=True)
class Task(SeedFolders):
    """What all seeds share.

    Attributes:
        plan: How large everything is.
        captioned: A file of rows of a caption and a generated sound.
    """

    plan: Plan
    captioned: Path


def learn(task: Task, seed: int) -> Learned[Sequence[Pair], Measured]:
    """A pipeline with random weights learns the captioned sounds by SFT; pairs of others are written."""
    folder, plan = task.seed_folder(seed), task.plan
    with log_to(folder / "log.txt"):
        write_pipeline(folder / "random", plan.heads, seed)
        options = modality_options(folder / "random", folder)
        config = plan.learn.config("audio", options, task.captioned, folder / "learn", seed)
        module = fit(config)
        export(module, config, {}, "A small model that makes sounds", task.start(seed))
        pairs = write_pairs(folder / "pairs", plan.pairs, seed)
        held_out = write_pairs(folder / "held_out", plan.held_out, seed)
        write_rows(pairs, folder / "pairs.jsonl")
        write_rows(toss_coins(pairs, seed), folder / "coin_pairs.jsonl")
        write_rows(held_out, folder / "held_out_pairs.jsonl")
        return Learned(seed, held_out, _examination(task, seed, held_out).measure(module.policy))


def align(task: Task, learned: Learned[Sequence[Pair], Measured], policy: Policy) -> Aligned[Measured]:
    """Train one policy from its seed's start, and measure it."""
    seed, folder = learned.seed, task.seed_folder(learned.seed)
    options = modality_options(task.start(seed), folder)
    config = policy.stage.config("audio", options, folder / policy.rows, folder / policy.folder, seed)
    with log_to(folder / policy.folder / "log.txt"):
        drift = DriftLog(batches=4)
        module = fit(config, [drift])
        examination = _examination(task, seed, learned.preferences)
        measured = examination.measure(module.policy, learned.measured, drift.warnings)
        if not policy.coin:
            title = f"A small model that makes sounds in the right order: {policy.title}"
            export(module, config, measured.means(), title, task.aligned(seed, policy))
    return Aligned(seed, policy.title, measured)


def _examination(task: Task, seed: int, held_out: Sequence[Pair]) -> Examination:
    plan = task.plan
    return Examination(
        modality=Audio(str(task.start(seed)), timesteps=Timesteps(), draws=plan.error_draws, cache="off"),
        captions=CAPTIONS,
        sounds=plan.sounds,
        seed=EXAMINATION_SEED,
        sampling=plan.sampling,
        pairs=as_comparisons(held_out, task.seed_folder(seed)),
        judge=OrderJudge(),
    )
