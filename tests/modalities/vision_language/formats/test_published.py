"""What each format makes of rows as they are published."""

import json
from itertools import product

import pytest

from modalign.core.batch import CHOSEN, REJECTED
from modalign.core.errors import ConfigError, RowError, UserError
from modalign.core.media import Media
from modalign.core.objectives.base import Feedback
from modalign.modalities.vision_language.formats.ha_dpo import HaDpo
from modalign.modalities.vision_language.formats.llava import Llava
from modalign.modalities.vision_language.formats.mm_rlhf import MmRlhf
from modalign.modalities.vision_language.formats.povid import Povid
from modalign.modalities.vision_language.formats.realign import Realign
from modalign.modalities.vision_language.formats.rlaif_v import RlaifV
from modalign.modalities.vision_language.formats.rlhf_v import RlhfV
from modalign.modalities.vision_language.formats.sharegpt import ShareGpt
from modalign.modalities.vision_language.formats.symmpo import SymMpo
from modalign.modalities.vision_language.formats.vision_demonstration import VisionDemonstration
from modalign.modalities.vision_language.formats.vision_preference import VisionPreference
from modalign.modalities.vision_language.formats.vision_unpaired import VisionUnpaired
from modalign.modalities.vision_language.formats.vlfeedback import VlFeedback
from tests.modalities.vision_language.formats.samples import (
    BLUE,
    QUESTION,
    RED,
    asked,
    completion,
    sample,
    stored,
    texts,
    turn,
)

PAIRS = frozenset({Feedback.PAIRWISE, Feedback.POINTWISE, Feedback.DEMONSTRATION})


@pytest.mark.parametrize(
    ("format", "row", "image"),
    [
        (VisionPreference(), sample("vision_preference", 0), RED),
        (VisionPreference(), sample("vision_preference", 1), RED),
        (VisionPreference(), sample("vision_preference", 2), "a.png"),
        (VisionPreference(), sample("vision_preference", 3), "a.png"),
        (VisionPreference(), sample("vision_preference", 4), "a.png"),
        (RlhfV(), sample("rlhf_v"), RED),
        (RlaifV(), sample("rlaif_v"), RED),
        (RlaifV(), sample("rlaif_v", 1), RED),
        (VlFeedback(), sample("vlfeedback", 2), "a.png"),
        (MmRlhf(), sample("mm_rlhf"), "a.png"),
        (Povid(), sample("povid"), "a.png"),
        (Realign(), sample("realign"), "a.png"),
        (SymMpo(), sample("symmpo"), RED),
        (ShareGpt(), sample("sharegpt"), "a.png"),
        (ShareGpt(), sample("sharegpt", 1), "a.png"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_pairs(format, row, image):
    (comparison,) = format.parse(row)
    assert comparison.roles == (CHOSEN, REJECTED)
    assert [message["role"] for message in comparison.prompt] == ["user"]
    assert asked(comparison.prompt) == [image, QUESTION]
    assert texts(comparison) == ["A cat.", "A dog."]
    assert all(candidate.context is None for candidate in comparison.candidates)
    assert format.feedback(row) == PAIRS
    assert format.left_out(row) == {}
    with pytest.raises(RowError, match="identical responses"):
        format.parse(json.loads(json.dumps(row, default=list).replace("A dog.", "A cat.")) | _bytes(row))


def _bytes(row):
    return {name: value for name, value in row.items() if "image" in name}


def test_scores_come_along():
    for format, row, scores in [
        (VisionPreference(), sample("vision_preference", 4), [4.5, 1.0]),
        (MmRlhf(), sample("mm_rlhf"), [2.0, -1.0]),
        (VlFeedback(), sample("vlfeedback", 2), [1.0, 0.0]),
        (RlaifV(chosen_score="a", rejected_score="b"), {**sample("rlaif_v"), "a": 3, "b": 2}, [3.0, 2.0]),
    ]:
        (comparison,) = format.parse(row)
        assert [candidate.score for candidate in comparison.candidates] == scores


def test_other_images_and_other_responses_come_along():
    for format, row, image in [
        (MmRlhf(), sample("mm_rlhf"), "b.png"),
        (Realign(), sample("realign"), "b.png"),
        (VisionPreference(), {**sample("vision_preference"), "other_images": [stored(BLUE)]}, BLUE),
        (VisionPreference(other_images="near"), {**sample("vision_preference"), "near": "b.png"}, "b.png"),
        (SymMpo(), sample("symmpo"), BLUE),
    ]:
        (comparison,) = format.parse(row)
        (other,) = comparison.extra["other_images"]
        assert image == (other.path if other.data is None else other.data)
    assert comparison.extra["other_response"] == [{"role": "assistant", "content": "A bird."}]
    (comparison,) = VisionPreference().parse({**sample("vision_preference"), "other_response": "A bird."})
    assert comparison.extra == {"other_response": [{"role": "assistant", "content": "A bird."}]}


def test_symmpo_sees_a_row_from_both_images():
    first, second = SymMpo(both=True).parse(sample("symmpo"))
    assert (asked(first.prompt), texts(first)) == ([RED, QUESTION], ["A cat.", "A dog."])
    assert (asked(second.prompt), texts(second)) == ([BLUE, QUESTION], ["A bird.", "A fish."])
    assert second.extra["other_images"] == (Media(data=RED),)
    assert second.extra["other_response"] == first.candidates[0].response


def test_vlfeedback_pairs_answers_by_their_mean_rating():
    means = {"a dog": 7 / 3, "a cat on a mat": 5.0, "a cat": 4.0, "the cat": 4.0}
    for number in (0, 1):
        row = sample("vlfeedback", number)
        pairs = VlFeedback().parse(row)
        found = {tuple(texts(pair)): [candidate.score for candidate in pair.candidates] for pair in pairs}
        assert found == {
            (better, worse): pytest.approx([means[better], means[worse]])
            for better, worse in product(means, means)
            if means[better] > means[worse]
        }
        assert VlFeedback().left_out(row) == {"tie": 1}
        assert asked(pairs[0].prompt) == [["a.png", RED][number], QUESTION]


def test_vlfeedback_is_a_list_or_the_best_and_the_worst():
    row = sample("vlfeedback")
    (listed,) = VlFeedback(pairs="none").parse(row)
    assert listed.roles == ("candidate",) * 4
    assert [candidate.score for candidate in listed.candidates] == pytest.approx([7 / 3, 5, 4, 4])
    assert VlFeedback(pairs="none").feedback(row) == {Feedback.LISTWISE}
    (pair,) = VlFeedback(pairs="best_worst").parse(row)
    assert texts(pair) == ["a cat on a mat", "a dog"]
    (pair,) = VlFeedback(pairs="best_worst", aspects=["Visual Faithfulness"]).parse(row)
    assert [candidate.score for candidate in pair.candidates] == [5.0, 1.0]
    with pytest.raises(RowError, match="missing key: 'Style'"):
        VlFeedback(aspects=["Style"]).parse(row)


def test_vlfeedback_leaves_answers_without_ratings_out():
    answers = [completion("a", "5", "5", "5"), completion("b", "N/A", "5", "5"), completion("c", "1", "1", "1")]
    row = {"prompt": QUESTION, "image": "a.png", "completions": answers}
    (pair,) = VlFeedback().parse(row)
    assert texts(pair) == ["a", "c"]
    assert VlFeedback().left_out(row) == {"answer without a rating": 1}
    row["completions"] = answers[:2]
    assert VlFeedback().parse(row) == []
    assert VlFeedback().left_out(row) == {"answer without a rating": 1}


def test_mm_rlhf_leaves_ties_out_and_refuses_videos():
    tie = {**sample("mm_rlhf"), "is_tie": True}
    assert (MmRlhf().parse(tie), MmRlhf().left_out(tie)) == ([], {"tie": 1})
    with pytest.raises(RowError, match="a video") as caught:
        MmRlhf().parse(sample("mm_rlhf", 1))
    assert caught.value.column == "video"


def test_realign_takes_a_prompt_of_its_own_and_wants_a_retrieved_image():
    row = sample("realign")
    whole = Realign().parse(row)
    assert Realign().parse({**row, "prompt": QUESTION}) == whole
    bare = {side: row[side][1:] for side in (CHOSEN, REJECTED)}
    assert Realign().parse({**row, **bare, "prompt": f"<image>\n{QUESTION}"}) == whole
    with pytest.raises(RowError, match="the prompt is not that of the conversations"):
        Realign().parse({**row, "prompt": "Who is it?"})
    with pytest.raises(RowError, match="no retrieved image") as caught:
        Realign().parse({**row, "retrieved_image": None})
    assert caught.value.column == "retrieved_image"


def test_ha_dpo_pairs_every_two_descriptions():
    row = sample("ha_dpo")
    pairs = HaDpo(root="/vg").parse(row)
    assert [tuple(texts(pair)) for pair in pairs] == list(product(row["chosen"], row["rejected"]))
    assert {asked(pair.prompt)[0] for pair in pairs} == {"/vg/2378.jpg"}
    assert len({asked(pair.prompt)[1] for pair in pairs}) > 1
    assert [pair.prompt for pair in HaDpo(root="/vg").parse(row)] == [pair.prompt for pair in pairs]
    same = {**row, "rejected": [*row["rejected"], " A cat. "]}
    assert len(HaDpo().parse(same)) == 7
    assert HaDpo().left_out(same) == {"identical responses": 1}
    with pytest.raises(RowError, match="identical responses"):
        HaDpo().parse({**row, "chosen": ["A cat."], "rejected": ["A cat."]})


def test_ha_dpo_leaves_questions_out_that_the_model_answered_right():
    row = sample("ha_dpo", 1)
    (pair,) = HaDpo(pattern="VG_100K/{id}.png").parse(row)
    assert asked(pair.prompt) == ["VG_100K/2378.png", "Is there a cat?"]
    assert texts(pair) == ["Yes, there is.", "No."]
    right = {**row, "correct": True}
    assert (HaDpo().parse(right), HaDpo().left_out(right)) == ([], {"the model's answer was right": 1})


def test_ha_dpo_looks_images_up_in_visual_genomes_own_list(tmp_path):
    file = tmp_path / "image_data.json"
    file.write_text(json.dumps([{"image_id": 2378, "url": "https://x.org/rak248/VG_100K_2/2378.jpg", "width": 800}]))
    row = sample("ha_dpo", 1)
    (pair,) = HaDpo(image_data=str(file), root="/vg", questions=["What?"]).parse(row)
    assert asked(pair.prompt)[0] == "/vg/VG_100K_2/2378.jpg"
    with pytest.raises(RowError, match="unknown image"):
        HaDpo(image_data=str(file)).parse({**row, "image_id": 1})
    for content in ("{", '[{"image_id": 1}]', "3"):
        (tmp_path / f"{len(content)}.json").write_text(content)
        with pytest.raises(UserError, match="no list of Visual Genome"):
            HaDpo(image_data=str(tmp_path / f"{len(content)}.json")).resolve(row, "file")
    with pytest.raises(UserError, match="cannot be read"):
        HaDpo(image_data=str(tmp_path / "none.json")).resolve(row, "file")


def test_ha_dpo_draws_from_the_questions_it_is_given():
    pairs = HaDpo(questions=["What?"]).parse(sample("ha_dpo"))
    assert {asked(pair.prompt)[1] for pair in pairs} == {"What?"}


def test_llava_learns_the_last_answer_or_all():
    row = sample("llava")
    (last,) = Llava().parse(row)
    assert [message["role"] for message in last.prompt] == ["user", "assistant", "user"]
    assert asked(last.prompt) == [f"{QUESTION}\n", "a.png", "A cat.", "Where?"]
    assert (last.roles, texts(last)) == ((CHOSEN,), ["On the mat."])
    first, second = Llava(turns="all").parse(row)
    assert (asked(first.prompt), texts(first)) == ([f"{QUESTION}\n", "a.png"], ["A cat."])
    assert second == last
    assert Llava().feedback(row) == {Feedback.DEMONSTRATION}


def test_llava_reads_rows_without_images_and_refuses_unanswered_ones():
    row = {"id": "1", "conversations": [turn("human", "Hi."), turn("gpt", "Hello.")]}
    (comparison,) = Llava().parse(row)
    assert asked(comparison.prompt) == ["Hi."]
    open_end = [*row["conversations"], turn("human", "Where?")]
    with pytest.raises(RowError, match="no answer"):
        Llava().parse({"conversations": open_end})
    assert len(Llava(turns="all").parse({"conversations": open_end})) == 1
    with pytest.raises(RowError, match="places for 1, and the row has 0"):
        Llava().parse({"conversations": [turn("human", "<image>Hi."), turn("gpt", "Hello.")]})


def test_sharegpt_takes_system_messages_earlier_turns_and_bare_answers():
    row = {
        "system": "Be brief.",
        "conversations": [turn("human", "Hi."), turn("gpt", "Hello."), turn("human", f"<image>{QUESTION}")],
        "chosen": "A cat.",
        "rejected": [turn("gpt", "A dog.")],
        "images": ["a.png"],
    }
    (comparison,) = ShareGpt().parse(row)
    assert [message["role"] for message in comparison.prompt] == ["system", "user", "assistant", "user"]
    assert asked(comparison.prompt) == ["Be brief.", "Hi.", "Hello.", "a.png", QUESTION]
    assert texts(comparison) == ["A cat.", "A dog."]


def test_demonstrations_and_thumbs():
    for number, image in enumerate([RED, "a.png"]):
        row = sample("vision_demonstration", number)
        (comparison,) = VisionDemonstration().parse(row)
        assert (asked(comparison.prompt), texts(comparison)) == ([image, QUESTION], ["A cat."])
        assert comparison.roles == (CHOSEN,)
        assert VisionDemonstration().feedback(row) == {Feedback.DEMONSTRATION}
    row = sample("vision_unpaired")
    for label in (True, False):
        (comparison,) = VisionUnpaired().parse({**row, "label": label})
        assert (asked(comparison.prompt), texts(comparison)) == (["a.png", QUESTION], ["A cat."])
        assert comparison.candidates[0].score == float(label)
    assert VisionUnpaired().feedback(row) == {Feedback.POINTWISE}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: HaDpo(pattern="a.jpg"), "pattern"),
        (lambda: HaDpo(pattern="{id}.jpg", image_data="a.json"), "both a pattern and image_data"),
        (lambda: HaDpo(questions=[]), "questions are empty"),
        (lambda: Llava(turns="first"), "turns is 'first'"),
        (lambda: VlFeedback(pairs="some"), "pairs is 'some'"),
        (lambda: VisionPreference(images_in_prompt="("), "images_in_prompt"),
        (lambda: VisionPreference(images_in_prompt="<img>"), "has 0 groups"),
    ],
)
def test_options_that_cannot_be_are_refused(build, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build()
    assert caught.value.cure


@pytest.mark.parametrize(
    ("format", "row", "problem", "column"),
    [
        (RlhfV(), {**sample("rlhf_v"), "text": "{"}, "not valid JSON", "text"),
        (RlhfV(), {**sample("rlhf_v"), "text": "[]"}, "not a mapping", "text"),
        (RlhfV(), {**sample("rlhf_v"), "text": '{"question": "Q"}'}, "missing column", "text.chosen"),
        (RlhfV(), {**sample("rlhf_v"), "text": '{"question": ""}'}, "empty question", "text.question"),
        (RlhfV(), {**sample("rlhf_v"), "image": None}, "no value", "image"),
        (RlaifV(), {**sample("rlaif_v"), "question": " "}, "empty question", "question"),
        (RlaifV(), {**sample("rlaif_v"), "image": []}, "no image", "image"),
        (RlaifV(), {**sample("rlaif_v"), "question": "<image><image>Q"}, "places for 2", "question"),
        (RlaifV(), {**sample("rlaif_v"), "chosen": ["x"]}, "not text", "chosen"),
        (RlaifV(), {**sample("rlaif_v"), "rejected": " "}, "empty response", "rejected"),
        (RlaifV(), {**sample("rlaif_v"), "image": "http://x.org/a.png"}, "a URL", "image"),
        (VlFeedback(), {**sample("vlfeedback"), "completions": []}, "empty list", "completions"),
        (VlFeedback(), {**sample("vlfeedback"), "completions": ["a", "b"]}, "not a completion", "completions[0]"),
        (
            VlFeedback(),
            {**sample("vlfeedback", 1), "completions": {"response": ["a"], "score": []}},
            "lists",
            "completions",
        ),
        (VlFeedback(), {**sample("vlfeedback"), "img_path": None}, "no value", "img_path"),
        (
            Povid(),
            {**sample("povid"), "rejected_conversations": [turn("cat", "a")]},
            "unknown speaker",
            "rejected_conversations[0]",
        ),
        (
            Povid(),
            {**sample("povid"), "rejected_conversations": [turn("human", "a")]},
            "no prompt",
            "rejected_conversations",
        ),
        (SymMpo(), {**sample("symmpo"), "image_2": None}, "no value", "image_2"),
        (SymMpo(), {**sample("symmpo"), "resp_2_w": ""}, "empty response", "resp_2_w"),
        (HaDpo(), {**sample("ha_dpo"), "id": None}, "missing column", "image_id"),
        (HaDpo(), {**sample("ha_dpo"), "chosen": "A cat."}, "not a list", "chosen"),
        (HaDpo(), {**sample("ha_dpo"), "id": [1]}, "not an image id", "id"),
        (ShareGpt(), {**sample("sharegpt"), "chosen": {"from": "gpt"}}, "not text", "chosen[0]"),
        (ShareGpt(), {**sample("sharegpt"), "conversations": "Hi"}, "not a list", "conversations"),
        (MmRlhf(), {**sample("mm_rlhf"), "is_tie": "no"}, "not a label", "is_tie"),
        (MmRlhf(), {**sample("mm_rlhf"), "chosen_score": "high"}, "not a number", "chosen_score"),
    ],
)
def test_rows_are_refused_with_column_and_cure(format, row, problem, column):
    with pytest.raises(RowError, match=problem) as caught:
        format.parse(row)
    assert caught.value.column == column
    assert caught.value.cure


def test_columns_may_be_called_otherwise():
    row = {"frage": QUESTION, "gut": "A cat.", "schlecht": "A dog.", "bild": stored(RED)}
    format = RlaifV(image="bild", question="frage", chosen="gut", rejected="schlecht")
    assert format.resolve(row, "file") is format
    (comparison,) = format.parse(row)
    assert (asked(comparison.prompt), texts(comparison)) == ([RED, QUESTION], ["A cat.", "A dog."])
    with pytest.raises(UserError, match=r"no column 'bild'.*image"):
        format.resolve({"bilder": "a.png"}, "file")


def test_a_comparison_of_images_keeps_both_contexts():
    (comparison,) = VisionPreference().parse(sample("vision_preference", 5))
    chosen, rejected = comparison.candidates
    assert chosen.response == rejected.response == [{"role": "assistant", "content": "A cat."}]
    assert (asked(comparison.prompt), chosen.context, asked(rejected.context)) == (
        ["a.png", QUESTION],
        None,
        ["b.png", QUESTION],
    )
