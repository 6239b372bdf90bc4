"""The demonstration from beginning to end."""

from functools import partial
from time import perf_counter

from modalign.modalities.image.quickstart.digits import write_digits
from modalign.modalities.image.quickstart.experiment import Task, align, learn
from modalign.modalities.image.quickstart.measurement import Measured
from modalign.modalities.image.quickstart.plan import LISTWISE, TITLES, Plan, smoke_plan
from modalign.modalities.image.quickstart.preference import STATEMENT, Preferences
from modalign.modalities.image.quickstart.report import print_report, write_grid, write_results
from modalign.modalities.image.quickstart.summary import Results
from modalign.modalities.quickstart.method_options import MethodOptions
from modalign.modalities.quickstart.options import Tell
from modalign.modalities.quickstart.policies import policies
from modalign.modalities.quickstart.printing import SMOKE_NOTE
from modalign.modalities.quickstart.seeds import Aligned, Learned, run_seeds
from modalign.modalities.quickstart.stages import write_rows

NEXT_STEPS = """
The pictures that were ranked are in {pictures}.
The aligned model is an ordinary diffusers folder, here without the parts that pixels need not:
  absent = dict.fromkeys(("vae", "safety_checker", "feature_extractor", "image_encoder"))
  pipeline = diffusers.StableDiffusionPipeline.from_pretrained("{aligned}", **absent)
  pixels = pipeline("a seven", height=64, width=64, num_inference_steps={steps}, guidance_scale={guidance},
                    output_type="latent").images  # (1, 3, 8, 8), from -1 to 1
Without a VAE, diffusers counts height and width in units of 8 pixels.
{title} on your own pairs, lines of {{"prompt": ..., "chosen": "a.png", "rejected": "b.png"}}, from Stable Diffusion:
  modalign fit --config {config} --model.modality.model MODEL --data.train PAIRS.jsonl \\
    --model.modality.cache disk --model.optimizer.lr 1e-6 --trainer.accelerator auto \\
    --trainer.default_root_dir runs/mine
"""


def demonstrate(options: MethodOptions, tell: Tell) -> None:
    """Run every seed, then print and write what came out."""
    began, folder = perf_counter(), options.folder
    plan = smoke_plan() if options.smoke else Plan()
    digits = write_digits(folder / "digits")
    task = Task(folder, plan, write_rows(digits, folder / "digits.jsonl"))
    trained = policies(plan.imitate, plan.align, TITLES, options.methods, LISTWISE)
    tell(f"{len(digits)} real digits with captions; {options.processes} trainings at once")
    tell(f"preference: {STATEMENT}")
    seeds = run_seeds(partial(learn, task), partial(align, task), trained, options, _about, tell)
    results = Results(task, options.methods, trained, seeds)
    print_report(results)
    if options.smoke:
        print(SMOKE_NOTE)
    grid = write_grid(folder / "grid.png", results)
    print(f"\nPictures of the same noise before and after: {grid}")
    write_results(folder / "results.json", results, perf_counter() - began)
    print(_next_steps(results, options.seeds[0]))
    tell(f"done; all numbers, also of each seed, are in {folder / 'results.json'}")


def _about(result: Learned[Preferences, Measured] | Aligned[Measured]) -> str:
    reward = f"reward {result.measured.reward.mean():.3f}"
    if isinstance(result, Aligned):
        return f"seed {result.seed}: {result.title}: {reward}"
    return (
        f"seed {result.seed}: SFT from random weights: {result.measured.fidelity.mean():.0%} of its digits are read as "
        f"asked for, {reward}; {len(result.preferences.train)} ranked lists of its own pictures"
    )


def _next_steps(results: Results, seed: int) -> str:
    task, policy = results.task, results.shown("dpo")
    folder = task.seed_folder(seed)
    return NEXT_STEPS.format(
        pictures=folder / "pictures",
        aligned=task.aligned(seed, policy),
        title=policy.title,
        config=folder / policy.folder / "config.yaml",
        steps=task.plan.steps,
        guidance=task.plan.guidance_scale,
    )
