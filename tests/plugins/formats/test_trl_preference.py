import pytest
from hypothesis import given
from hypothesis import strategies as st
from trl.data_utils import extract_prompt

from modalign.core.errors import RowError
from modalign.core.objectives.base import Feedback
from modalign.plugins.formats.trl_preference import TrlPreference, shared_text

WORDS = st.lists(st.sampled_from(["I", "It", "is", "am", "a", "an", "Ü", "don't", "一个", "."]), max_size=6)
BLANKS = st.sampled_from([" ", "  ", "\n", "\n\n", " \n", "\t"])
TEXTS = st.tuples(WORDS, BLANKS).map(lambda drawn: drawn[1].join(drawn[0]))


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


def parse(row, **options):
    (comparison,) = TrlPreference(**options).parse(row)
    return comparison


def sides(row):
    comparison = parse(row)
    return comparison.prompt, comparison.candidate("chosen").response, comparison.candidate("rejected").response


def refusal(row, **options) -> RowError:
    with pytest.raises(RowError) as caught:
        parse(row, **options)
    assert caught.value.cure
    return caught.value


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt"),
    [
        ("The sky is blue.", "The sky is green.", "The sky is"),
        ("I am", "It is", ""),
        ("He said: I am", "He said: It is", "He said:"),
        ("Q: a\nA: yes", "Q: a\nA: no", "Q: a\nA:"),
        ("Q: a\nyes", "Q: a\nno", "Q: a\n"),
        ("one two", "one two three", "one"),
        ("a  b", "a  c", "a "),
        ("天空是蓝色", "天空是绿色", ""),
    ],
)
def test_an_implicit_prompt_ends_between_words(chosen, rejected, prompt):
    assert sides({"chosen": chosen, "rejected": rejected}) == (prompt, chosen[len(prompt) :], rejected[len(prompt) :])


@given(TEXTS, TEXTS, TEXTS)
def test_an_implicit_prompt_never_ends_inside_a_word(start, first, second):
    first, second = start + first, start + second
    end = shared_text(first, second)
    assert first[:end] == second[:end]
    for text in (first, second):
        assert end == 0 or text[end - 1].isspace() or text[end].isspace()
        assert end == 0 or text[end:].strip()


@given(WORDS.filter(bool), st.sampled_from(["yes", "no"]), st.sampled_from(["maybe", "perhaps"]))
def test_where_words_differ_from_their_first_letter_the_prompt_is_trls(start, first, second):
    chosen, rejected = (" ".join([*start, word]) for word in (first, second))
    expected = extract_prompt({"chosen": chosen, "rejected": rejected})
    assert sides({"chosen": chosen, "rejected": rejected}) == (
        expected["prompt"],
        expected["chosen"],
        expected["rejected"],
    )


@given(st.lists(st.sampled_from(["hi", "how", "why"]), min_size=1, max_size=4))
def test_the_shared_turns_of_conversations_are_trls(words):
    turns = [user("start")] + [m for word in words for m in (assistant(word), user(word))]
    row = {"chosen": [*turns, assistant("good")], "rejected": [*turns, assistant("bad")]}
    expected = extract_prompt(row)
    assert sides(row) == (expected["prompt"], expected["chosen"], expected["rejected"])


def test_an_explicit_prompt_is_kept_to_the_letter():
    assert sides({"prompt": " Say I", "chosen": " am", "rejected": "t is"}) == (" Say I", " am", "t is")
    chat = {"prompt": [user("hi")], "chosen": [assistant("a")], "rejected": [assistant("b")]}
    assert sides(chat) == (chat["prompt"], chat["chosen"], chat["rejected"])


def test_a_text_prompt_beside_conversations():
    turns = [{"role": "system", "content": "be kind"}, user("hi ")]
    row = {"prompt": "hi", "chosen": [*turns, assistant("a")], "rejected": [*turns, assistant("b")]}
    assert sides(row) == (turns, [assistant("a")], [assistant("b")])
    bare = {"prompt": "hi", "chosen": [assistant("a")], "rejected": [assistant("b")]}
    assert sides(bare) == ([user("hi")], [assistant("a")], [assistant("b")])
    assert "not that of the conversations" in refusal({**row, "prompt": "bye"}).message


def test_keys_that_columnar_files_add_are_dropped():
    turns = [{**user("hi"), "tool_calls": None}, {**assistant("a"), "name": None}]
    comparison = parse({"chosen": turns, "rejected": [turns[0], assistant("b")]})
    assert comparison.prompt == [user("hi")]
    assert comparison.candidate("chosen").response == [assistant("a")]


def test_tools_and_template_variables_are_passed_on():
    tools = [{"name": "f", "parameters": {"default": None}}]
    row = {"prompt": "a", "chosen": "b", "rejected": "c", "tools": tools, "chat_template_kwargs": '{"think": false}'}
    assert parse(row).extra == {"tools": [{"name": "f", "parameters": {}}], "chat_template_kwargs": {"think": False}}
    assert parse({**row, "tools": None, "chat_template_kwargs": None}).extra == {}
    assert refusal({**row, "tools": {"name": "f"}}).column == "tools"
    assert "not valid JSON" in refusal({**row, "tools": "[{"}).message
    assert refusal({**row, "chat_template_kwargs": 3}).column == "chat_template_kwargs"


def test_a_tool_call_answers_without_words():
    call = {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}
    result = {"role": "tool", "content": "42"}
    row = {"prompt": [user("hi")], "chosen": [call, result, assistant("42")], "rejected": [call]}
    assert parse(row).candidate("rejected").response == [{**call, "content": ""}]


def test_weights_come_from_the_named_column():
    row = {"prompt": "a", "chosen": "b", "rejected": "c", "w": 2}
    assert (parse(row).weight, parse(row, weight="w").weight) == (1.0, 2.0)
    for weight in (0, -1, float("nan"), float("inf"), "2", True, None, 10**400):
        assert refusal({**row, "w": weight}, weight="w").column == "w"
    assert "missing column" in refusal({"prompt": "a", "chosen": "b", "rejected": "c"}, weight="w").message


TWICE = [user("a"), assistant("x"), user("b"), assistant("y")]
ROW = {"prompt": "a", "chosen": "b", "rejected": "c"}
CHAT = {"prompt": [user("hi")], "chosen": [assistant("a")], "rejected": [assistant("b")]}


@pytest.mark.parametrize(
    ("row", "column", "message"),
    [
        ({"prompt": "a", "chosen": "b"}, "rejected", "missing column: the row has prompt, chosen"),
        ({**ROW, "chosen": None}, "chosen", "no value"),
        ({**ROW, "prompt": None}, "prompt", "no value"),
        ({**ROW, "chosen": 3}, "chosen", "neither text nor a conversation: int 3"),
        ({**ROW, "chosen": b"b"}, "chosen", "neither text nor a conversation"),
        ({**ROW, "chosen": ["b"]}, "chosen[0]", "not a message"),
        ({**ROW, "chosen": "\ud800"}, "chosen", "not valid Unicode"),
        ({**ROW, "chosen": " \n"}, "chosen", "empty response"),
        ({**ROW, "rejected": " b "}, "rejected", "identical responses"),
        ({**ROW, "prompt": [user("a")]}, "chosen", "mixed forms"),
        ({**ROW, "chosen": [assistant("a")]}, "rejected", "mixed forms"),
        ({**CHAT, "prompt": []}, "prompt", "empty list"),
        ({**CHAT, "chosen": []}, "chosen", "empty list"),
        ({**CHAT, "chosen": [assistant("")]}, "chosen", "empty response"),
        ({**CHAT, "chosen": [user("a")]}, "chosen", "does not end with the assistant"),
        ({**CHAT, "chosen": [user("a"), assistant("b")]}, "chosen", "other roles: user"),
        ({**CHAT, "chosen": [{"role": "bot", "content": "a"}]}, "chosen[0]", "unknown role"),
        ({**CHAT, "chosen": [{"role": ["x"], "content": "a"}]}, "chosen[0]", "unknown role"),
        ({**CHAT, "chosen": [{"role": "assistant", "content": None}]}, "chosen[0]", "not text"),
        ({**CHAT, "chosen": [{"role": "assistant", "content": [3]}]}, "chosen[0]", "not a part of a message"),
        ({**CHAT, "chosen": [{"role": "assistant", "tool_calls": "f()"}]}, "chosen[0]", "not a list of tool calls"),
        ({**CHAT, "rejected": CHAT["chosen"]}, "rejected", "identical responses"),
        ({"chosen": [user("a"), assistant("x")], "rejected": [user("b"), assistant("y")]}, "chosen", "no prompt"),
        ({"chosen": [assistant("x")], "rejected": [assistant("y")]}, "chosen", "no prompt"),
        ({"chosen": "same", "rejected": "same"}, "rejected", "identical responses"),
        ({"chosen": [user("a"), assistant("x")], "rejected": [user("a"), assistant("x")]}, "rejected", "identical"),
        ({"chosen": [user("a"), assistant("x")], "rejected": [user("a")]}, "chosen", "no prompt"),
        ({"chosen": [user("a"), assistant("x")], "rejected": TWICE}, "rejected", "other roles: user"),
    ],
)
def test_a_bad_row_is_refused_with_column_and_cure(row, column, message):
    error = refusal(row)
    assert (error.column, message in error.message) == (column, True)


def test_nesting_without_end_is_refused():
    junk = "x"
    for _ in range(900):
        junk = [{"type": "text", "text": junk}]
    assert "nested too deep" in refusal({**CHAT, "chosen": [{"role": "assistant", "content": junk}]}).message


def test_what_it_matches_and_says():
    matches = TrlPreference().matches
    assert matches(ROW)
    assert matches(CHAT)
    assert matches({"chosen": "a", "rejected": "b", "margin": 2})
    transcript = "\n\nHuman: a\n\nAssistant: b"
    assert not matches({"chosen": transcript, "rejected": transcript})
    assert matches({"prompt": "p", "chosen": transcript, "rejected": transcript})
    assert not matches({"chosen": 1, "rejected": 2})
    assert not matches({"prompt": "a", "completion": "b"})
    assert TrlPreference().feedback(ROW) == {Feedback.PAIRWISE, Feedback.POINTWISE, Feedback.DEMONSTRATION}
