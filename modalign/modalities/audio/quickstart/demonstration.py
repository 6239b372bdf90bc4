"""The demonstration from beginning to end."""

from collections.abc import Sequence
from functools import partial
from time import perf_counter

from modalign.modalities.audio.quickstart.experiment import Task, align, learn
from modalign.modalities.audio.quickstart.measurement import Measured
from modalign.modalities.audio.quickstart.pipeline import SECONDS
from modalign.modalities.audio.quickstart.plan import TITLES, Plan, smoke_plan
from modalign.modalities.audio.quickstart.preference import STATEMENT, Pair
from modalign.modalities.audio.quickstart.report import print_report, write_grid, write_results, write_sounds
from modalign.modalities.audio.quickstart.sounds import CAPTIONS, write_captioned
from modalign.modalities.audio.quickstart.summary import Results
from modalign.modalities.quickstart.method_options import MethodOptions
from modalign.modalities.quickstart.options import Tell
from modalign.modalities.quickstart.policies import policies
from modalign.modalities.quickstart.printing import SMOKE_NOTE
from modalign.modalities.quickstart.seeds import Aligned, Learned, run_seeds
from modalign.modalities.quickstart.stages import write_rows

NEXT_STEPS = """
The sounds that were learned from are in {sounds}, the pairs in {pairs}.
The aligned model is a folder for plain diffusers, which runs the pipeline.py in it:
  pipeline = diffusers.DiffusionPipeline.from_pretrained("{aligned}", trust_remote_code=True)
  sound = pipeline("{caption}", duration={seconds}, num_inference_steps={steps}, guidance_scale=1.0).audios[0]
  soundfile.write("{file}", sound.T.numpy(), pipeline.sampling_rate)
CRPO on your own pairs, lines of {{"prompt": ..., "chosen": "a.wav", "rejected": "b.wav"}}, from a TangoFlux model and
with its authors' settings, as those of this demonstration only suit so small a model:
  modalign recipes copy audio/tangoflux-crpo
  modalign fit --config tangoflux-crpo.yaml --model.modality.model MODEL --data.train PAIRS.jsonl
"""


def demonstrate(options: MethodOptions, tell: Tell) -> None:
    """Run every seed, then print and write what came out."""
    began, folder = perf_counter(), options.folder
    plan = smoke_plan() if options.smoke else Plan()
    captioned = write_captioned(folder / "sounds", plan.captioned, plan.right)
    task = Task(folder, plan, write_rows(captioned, folder / "sounds.jsonl"))
    trained = policies(plan.imitate, plan.align, TITLES, options.methods)
    tell(f"{len(captioned)} generated sounds with captions; {options.processes} trainings at once")
    tell(f"preference: {STATEMENT}")
    seeds = run_seeds(partial(learn, task), partial(align, task), trained, options, _about, tell)
    results = Results(task, options.methods, trained, seeds)
    print_report(results)
    if options.smoke:
        print(SMOKE_NOTE)
    grid, sounds = write_grid(folder / "grid.png", results), write_sounds(folder / "before_and_after", results)
    print(f"\nSounds of the same noise before and after: {sounds}, their mel spectrograms: {grid}")
    write_results(folder / "results.json", results, perf_counter() - began)
    print(_next_steps(results, options.seeds[0]))
    tell(f"done; all numbers, also of each seed, are in {folder / 'results.json'}")


def _about(result: Learned[Sequence[Pair], Measured] | Aligned[Measured]) -> str:
    measured = result.measured
    numbers = (
        f"{measured.reward.mean():.0%} of its sounds are in the right order, {measured.swapped.mean():.0%} in the "
        f"reverse, distance {measured.distance:.2f}"
    )
    title = result.title if isinstance(result, Aligned) else "SFT from random weights"
    return f"seed {result.seed}: {title}: {numbers}{'; its run warned' if measured.warnings else ''}"


def _next_steps(results: Results, seed: int) -> str:
    task = results.task
    return NEXT_STEPS.format(
        sounds=task.folder / "sounds",
        pairs=task.seed_folder(seed) / "pairs",
        aligned=task.aligned(seed, results.shown("crpo")),
        caption=CAPTIONS[2],
        seconds=SECONDS,
        steps=task.plan.steps,
        file=task.folder / "sound.wav",
    )
