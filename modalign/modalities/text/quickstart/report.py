"""What the demonstration prints at its end, and the same as JSON."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from rich.table import Table

from modalign.modalities.quickstart.estimates import Estimate, estimates_by_seed
from modalign.modalities.quickstart.printing import each, print_findings, report_console, report_table
from modalign.modalities.quickstart.stages import write_json
from modalign.modalities.text.quickstart.experiment import POLICIES, SeedResult, Task
from modalign.modalities.text.quickstart.preference import STATEMENT, Pairs
from modalign.modalities.text.quickstart.summary import BY_PAIR, BY_PROMPT, by_pair, by_prompt, conclusions

SAMPLES = 3
COLUMNS = {
    "reward": "over answers to unseen prompts, at most 1; 95% interval over seeds and prompts",
    "win rate": "of these answers against the start's to the same prompts, ties counted half",
    "accuracy": "share of held-out pairs whose chosen answer gained more log-probability than the rejected, ties half",
    "KL": "to the start, in nats an answer, estimated on the policy's own answers",
    "correct": "share of these answers that say what was asked for, which the preference does not ask",
    "drift": "of the chosen answers' log-probability on held-out pairs, in nats",
}


def print_report(task: Task, results: Sequence[SeedResult]) -> None:
    """Print table, conclusions and samples."""
    print_findings(STATEMENT, _table(results), COLUMNS, _counts(task, results), conclusions(results))
    console = report_console()
    for sample in samples(task, results[0]):
        console.print(f"\nUnseen prompt: {sample['prompt'].strip()}", highlight=False, markup=False, style="bold")
        for policy in POLICIES:
            console.print(f"  {policy:<18} {sample[policy]}", highlight=False, markup=False)


def samples(task: Task, result: SeedResult) -> list[dict[str, str]]:
    """The first answer of every policy to unseen prompts that are spread evenly, so that nobody chose them."""
    count = len(task.unseen)
    places = [(2 * n + 1) * count // (2 * SAMPLES) for n in range(SAMPLES)]
    return [
        {"prompt": task.unseen[place].prompt}
        | {policy: result.measured[policy].responses[place][0] for policy in POLICIES}
        for place in places
    ]


def write_results(path: Path, task: Task, results: Sequence[SeedResult], seconds: float) -> None:
    """Everything that is printed, and the same for every seed alone, as JSON."""
    content = {
        "preference": STATEMENT,
        "seeds": [result.seed for result in results],
        "seconds": seconds,
        "demonstrations": len(task.demonstrations),
        "unseen_prompts": len(task.unseen),
        "answers_to_each": task.plan.samples,
        "pairs": [
            {"seed": result.seed, "trained_on": _summary(result.pairs), "held_out": _summary(result.held_out)}
            for result in results
        ],
        "policies": {
            policy: {quantity: estimates_by_seed(by_prompt(results, policy, quantity)) for quantity in BY_PROMPT}
            | {quantity: by_pair(results, policy, quantity).mean().item() for quantity in BY_PAIR}
            for policy in POLICIES
        },
        "conclusions": conclusions(results),
        "samples": samples(task, results[0]),
        "models": [str(result.aligned) for result in results],
    }
    write_json(content, path)


def _table(results: Sequence[SeedResult]) -> Table:
    rows = {}
    for policy in POLICIES:
        estimates = {quantity: Estimate.of(by_prompt(results, policy, quantity)) for quantity in BY_PROMPT}
        means = {quantity: by_pair(results, policy, quantity).mean().item() for quantity in BY_PAIR}
        rows[policy] = [
            str(estimates["reward"]),
            str(estimates["wins"]),
            f"{means['accuracy']:.2f}",
            f"{estimates['kl'].mean:.2f}",
            f"{estimates['correct'].mean:.2f}",
            f"{means['drift']:+.2f}",
        ]
    return report_table(tuple(COLUMNS), rows)


def _counts(task: Task, results: Sequence[SeedResult]) -> str:
    answers = len(results) * len(task.unseen) * task.plan.samples
    pairs, held_out = ([len(getattr(result, name).rows) for result in results] for name in ("pairs", "held_out"))
    ties = [result.pairs.ties + result.held_out.ties for result in results]
    chosen = fmean(result.pairs.chosen_reward for result in results)
    seeds = ", ".join(str(result.seed) for result in results)
    return (
        f"Seeds {seeds}. Measured on {len(task.unseen)} unseen prompts with {task.plan.samples} sampled answers each: "
        f"{answers} answers and as many comparisons a row. Trained on {each(pairs)} pairs of the start's own answers; "
        f"accuracy and drift from {each(held_out)} pairs on unseen prompts; {each(ties)} ties left out. The chosen "
        f"answers' own reward is {chosen:.2f}, which is all that imitation aims at."
    )


def _summary(pairs: Pairs) -> dict[str, float]:
    return {**vars(pairs), "rows": len(pairs.rows)}
