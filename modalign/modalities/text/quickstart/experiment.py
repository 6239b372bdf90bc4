"""One seed of the demonstration: learn the instructions, rank own responses, align, and measure beside the controls."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from modalign.core.keys import key_seed
from modalign.core.modality import Modality
from modalign.core.module import PreferenceModule
from modalign.core.reward import Reward
from modalign.modalities.quickstart.coins import toss_coins
from modalign.modalities.quickstart.options import Tell
from modalign.modalities.quickstart.policies import IMITATION, START
from modalign.modalities.quickstart.stages import export, fit, log_to, write_rows
from modalign.modalities.text.quickstart.instructions import Instruction, make_demonstrations, make_instructions
from modalign.modalities.text.quickstart.measurement import Examination, Measured
from modalign.modalities.text.quickstart.plan import MAX_LENGTH, Plan, modality_options
from modalign.modalities.text.quickstart.preference import Pairs, PoliteAndBrief, rank
from modalign.modalities.text.scratch import write_scratch_model

COIN, DPO = "DPO, coin labels", "DPO"
POLICIES = (START, IMITATION, COIN, DPO)


@dataclass(frozen=True)
class Task:
    """What all seeds share.

    Attributes:
        plan: How large everything is.
        train: Instructions to train on.
        unseen: Instructions to measure by.
        demonstrations: Rows of a training prompt and an answer to it.
        file: Where these rows are.
        reward: The preference.
    """

    plan: Plan
    train: Sequence[Instruction]
    unseen: Sequence[Instruction]
    demonstrations: Sequence[dict[str, str]]
    file: Path
    reward: Reward


@dataclass(frozen=True)
class SeedResult:
    """What one seed gave.

    Attributes:
        seed: Decides weights, order of the rows, samples and coins.
        measured: A policy's measurements, by its name.
        pairs: What was trained on.
        held_out: Pairs on unseen prompts.
        folder: Where its files are.
    """

    seed: int
    measured: dict[str, Measured]
    pairs: Pairs
    held_out: Pairs
    folder: Path

    @property
    def aligned(self) -> Path:
        """The exported model."""
        return self.folder / "aligned"


def make_task(plan: Plan, folder: Path, seed: int) -> Task:
    """Generate the instruction set and write it down."""
    instructions = make_instructions(seed)
    demonstrations = make_demonstrations(instructions.train, plan.answers, seed)
    file = write_rows(demonstrations, folder / "demonstrations.jsonl")
    write_rows(({"prompt": i.prompt} for i in instructions.unseen), folder / "unseen_prompts.jsonl")
    return Task(plan, instructions.train, instructions.unseen, demonstrations, file, PoliteAndBrief())


def run_seed(task: Task, folder: Path, seed: int, tell: Tell) -> SeedResult:
    """Everything for one seed; files go to `folder`."""
    module = _learn(task, folder, seed)
    modality, start = module.modality, module.policy
    pairs = _own_pairs(task, modality, start, task.train, seed)
    held_out = _own_pairs(task, modality, start, task.unseen, seed)
    write_rows(pairs.rows, folder / "pairs.jsonl")
    write_rows(toss_coins(pairs.rows, seed), folder / "coin_pairs.jsonl")
    write_rows(held_out.rows, folder / "held_out_pairs.jsonl")
    examination = _examination(task, modality, start, held_out, seed)
    measured = {START: examination.measure(start)}
    correct = measured[START].correct.mean()
    tell(f"seed {seed}: SFT from random weights: {correct:.0%} of answers to unseen prompts are correct")
    tell(f"seed {seed}: {len(pairs.rows)} ranked pairs of its own answers, {pairs.ties} ties left out")
    configs = _alignments(task, folder, seed)
    trained = {}
    for policy, config in configs.items():
        trained[policy] = fit(config)
        measured[policy] = examination.measure(trained[policy].policy)
        tell(f"seed {seed}: {policy}: reward {measured[policy].reward.mean():.2f}")
    result = SeedResult(seed, measured, pairs, held_out, folder)
    export(trained[DPO], configs[DPO], measured[DPO].means(), "A small model that learned manners", result.aligned)
    return result


def _alignments(task: Task, folder: Path, seed: int) -> dict[str, dict[str, Any]]:
    """The config of every policy that is trained from the start."""
    runs = {
        IMITATION: (task.plan.imitate, "pairs.jsonl", "sft_on_chosen"),
        COIN: (task.plan.align, "coin_pairs.jsonl", "dpo_coin"),
        DPO: (task.plan.align, "pairs.jsonl", "dpo"),
    }
    return {
        policy: stage.config("text", modality_options(folder / "start"), folder / rows, folder / run, seed)
        for policy, (stage, rows, run) in runs.items()
    }


def _learn(task: Task, folder: Path, seed: int) -> PreferenceModule:
    """A model with random weights learns the instructions by SFT; it is exported as `start`."""
    plan = task.plan
    with log_to(folder / "log.txt"):
        write_scratch_model(
            (text for row in task.demonstrations for text in row.values()),
            folder / "scratch",
            vocab_size=plan.vocab_size,
            hidden_size=plan.hidden_size,
            layers=plan.layers,
            max_positions=MAX_LENGTH,
            seed=seed,
            initializer_range=plan.initializer_range,
        )
    config = plan.learn.config("text", modality_options(folder / "scratch"), task.file, folder / "learn", seed)
    module = fit(config)
    export(module, config, {}, "A small model that answers", folder / "start")
    return module


def _own_pairs(
    task: Task, modality: Modality, start: nn.Module, instructions: Sequence[Instruction], seed: int
) -> Pairs:
    """Pairs of the start's own responses."""
    plan, prompts = task.plan, [instruction.prompt for instruction in instructions]
    seed = key_seed(seed, "own pairs")
    drawn = modality.sample(start, prompts, n=plan.draws * plan.pairs, seed=seed, **plan.sampling)
    return rank(prompts, drawn, plan.draws, task.reward)


def _examination(task: Task, modality: Modality, start: nn.Module, held_out: Pairs, seed: int) -> Examination:
    prompts = [instruction.prompt for instruction in task.unseen]
    seeds = key_seed(seed, "opponents"), key_seed(seed, "policies")
    opponents = modality.sample(start, prompts, n=task.plan.samples, seed=seeds[0], **task.plan.sampling)
    return Examination(
        modality, task.unseen, held_out.rows, task.reward, start, opponents, seeds[1], task.plan.sampling
    )
