"""The steps of `modalign build realign`, from rows of demonstrations to rows of dual preferences."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from modalign.core.claims import claim
from modalign.core.errors import RowError
from modalign.core.media import Media
from modalign.core.written_rows import WrittenRows
from modalign.modalities.image.decoding import decode_image
from modalign.modalities.vision_language.build.asking import as_written
from modalign.modalities.vision_language.build.demonstrations import Survey
from modalign.modalities.vision_language.build.image_files import image_files, written_path
from modalign.modalities.vision_language.build.neighbours import Neighbours
from modalign.modalities.vision_language.build.plan import Plan
from modalign.modalities.vision_language.build.rejection import Case, Rejection, Sampling
from modalign.modalities.vision_language.build.report import write_report
from modalign.modalities.vision_language.build.retrieval import neighbours_of

ROWS = "pairs.jsonl"
JOURNAL = "chunks.jsonl"

ROWS_AT_ONCE = 32
"""Demonstrations whose responses are sampled together, and written together."""

SECONDS_BETWEEN_LINES = 20


def build_realign(plan: Plan) -> None:
    """Run all steps that are not done yet, and print what came out.

    Raises:
        UserError: The data cannot be used, or the folder was begun otherwise.
    """
    started = time.monotonic()
    survey = plan.demonstrations.survey()
    settings = plan.settings(survey)
    claim(plan.folder, settings, "preferences of Re-Align")
    files = image_files(plan.folder, plan.demonstrations, survey)
    print(f"{survey.rows} rows: {len(survey.places)} demonstrations with {len(files)} different images", flush=True)
    neighbours = neighbours_of(plan, files, survey.keys)
    retrieved = time.monotonic() - started
    rows = WrittenRows(plan.folder / ROWS, plan.folder / JOURNAL)
    Answers(plan, survey, files, neighbours, rows).run()
    for told in write_report(plan.folder, survey, settings, rows.chunks, retrieved):
        print(told)
    print(f"built: {plan.folder / ROWS}")


class Answers:
    """Has the policy answer for the demonstrations that are not done yet, and writes rows.

    Args:
        plan: Says how.
        survey: Of the demonstrations.
        files: The different images.
        neighbours: Of each image.
        rows: Takes the rows.
    """

    def __init__(
        self, plan: Plan, survey: Survey, files: Sequence[Media], neighbours: Neighbours, rows: WrittenRows
    ) -> None:
        self.plan, self.survey, self.files = plan, survey, files
        self.neighbours, self.rows = neighbours, rows

    def run(self) -> None:
        """Answer and write, `ROWS_AT_ONCE` demonstrations at a time."""
        done, count = sum(chunk["demonstrations"] for chunk in self.rows.chunks), len(self.survey.places)
        if done >= count:
            return
        plan = self.plan
        sampling = Sampling(plan.modality, lambda: plan.policy, plan.options.seed, plan.sampling)
        similarity = plan.text_similarity(self.survey)
        rejection = Rejection(plan.asking, sampling, similarity, plan.options.accept_below)
        said = time.monotonic()
        for start in range(done, count, ROWS_AT_ONCE):
            end = min(start + ROWS_AT_ONCE, count)
            self._chunk(rejection, range(start, end))
            if end == count or time.monotonic() - said > SECONDS_BETWEEN_LINES:
                print(f"{end} of {count} demonstrations", flush=True)
                said = time.monotonic()

    def _chunk(self, rejection: Rejection, numbers: range) -> None:
        started = time.monotonic()
        cases = [self._case(number) for number in numbers]
        rejection.run([case for case in cases if not case.failure])
        rows = [self._row(number, case) for number, case in zip(numbers, cases, strict=True) if case.rank is not None]
        told = {
            "demonstrations": len(cases),
            "tried": dict(sum((case.tried for case in cases), Counter[str]())),
            "ranks": [row["rank"] for row in rows],
            "similarities": [row["similarity"] for row in rows],
            "text_similarities": [row["text_similarity"] for row in rows],
            "left_out": [_left_out(case) for case in cases if case.rank is None],
            "seconds": round(time.monotonic() - started, 3),
        }
        self.rows.add(rows, told)

    def _case(self, number: int) -> Case:
        demonstration = self.plan.demonstrations.at(self.survey.places[number])
        image = self.survey.images[number]
        ranked = [(self.files[other], cosine) for other, cosine in self.neighbours.of(image)]
        case = Case(demonstration, ranked)
        if not ranked:
            try:
                decode_image(self.files[image], any_shape=True)
            except RowError as error:
                case.failure = error.message
        return case

    def _row(self, number: int, case: Case) -> dict[str, Any]:
        assert case.rank is not None
        demonstration, (neighbour, cosine) = case.demonstration, case.neighbours[case.rank]
        masked = self.plan.asking.masked(demonstration.chosen)
        return {
            "image": written_path(self.files[self.survey.images[number]], self.plan.folder),
            "retrieved_image": written_path(neighbour, self.plan.folder),
            "chosen": as_written(demonstration.prompt, demonstration.chosen),
            "rejected": as_written(demonstration.prompt, case.rejected),
            "similarity": cosine,
            "text_similarity": case.text_similarity,
            "rank": case.rank,
            "source": demonstration.source,
            "row": demonstration.row,
            **({} if masked is None else {"masked": masked}),
        }


def _left_out(case: Case) -> dict[str, Any]:
    return {"source": case.demonstration.source, "row": case.demonstration.row, "reason": case.reason}
