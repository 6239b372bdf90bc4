"""Where prompts end and responses begin, for strings and chats; and what a bad row says."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modalign.core.batch import Candidate, Comparison, Example
from modalign.core.errors import ConfigError, RowError, UserError
from modalign.modalities.text.modality import Text

from .conftest import chat, pair, reply

MakeText = Callable[..., Text]


def decoded(modality: Text, example: Example) -> list[tuple[str, str]]:
    decode = modality.tokenizer.decode
    return [(decode(cell.prompt.tolist()), decode(cell.completion.tolist())) for cell in example.cells]


def test_a_string_and_its_response_are_tokenised_apart(text: MakeText) -> None:
    modality = text()
    joined = modality.tokenizer("The cat sat")["input_ids"]
    example = modality.encode(pair("The c", "at sat", "at"))
    first = example.cells[0].prompt.tolist() + example.cells[0].completion.tolist()
    assert first != [*joined, modality.tokenizer.eos_token_id]  # " cat" would be one token over the boundary
    assert decoded(modality, example) == [("The c", "at sat<|im_end|>"), ("The c", "at<|im_end|>")]
    assert example.sizes == tuple(len(cell.completion) for cell in example.cells)
    assert not example.truncated


def test_the_end_is_added_once_and_only_on_request(text: MakeText) -> None:
    eos = text().tokenizer.eos_token_id
    for response in ("go", "go<|im_end|>"):
        tokens = text().encode(Comparison("a", (Candidate(response),))).cells[0].completion.tolist()
        assert tokens.count(eos) == 1
        assert tokens[-1] == eos
    assert eos not in text(add_eos=False).encode(Comparison("a", (Candidate("go"),))).cells[0].completion.tolist()


def test_the_begin_token_is_added_once_if_the_tokenizer_adds_one(text: MakeText) -> None:
    from tokenizers.processors import TemplateProcessing

    modality = text()
    tokenizer = modality.tokenizer
    tokenizer.add_special_tokens({"bos_token": "<|im_start|>"})
    begin = tokenizer.bos_token_id
    plain = modality.encode(pair("The", "a", "b")).cells[0].prompt.tolist()
    assert begin not in plain
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A <|im_end|>",
        special_tokens=[("<|im_start|>", begin), ("<|im_end|>", tokenizer.eos_token_id)],
    )
    modality = text()
    modality.tokenizer = tokenizer
    for prompt in ("The", "<|im_start|>The"):
        cell = modality.encode(pair(prompt, "a", "b")).cells[0]
        assert cell.prompt.tolist() == [begin, *plain]
        assert begin not in cell.completion.tolist()
    assert modality.encode(pair("", "a", "b")).cells[0].prompt.tolist() == [begin]


def test_an_empty_prompt_is_the_end_token_where_there_is_no_begin_token(text: MakeText) -> None:
    modality = text()
    assert modality.encode(pair("", "a", "b")).cells[0].prompt.tolist() == [modality.tokenizer.eos_token_id]


def test_a_chat_is_split_where_the_assistants_turn_opens(text: MakeText) -> None:
    modality = text()
    example = modality.encode(pair(chat("go 1!", "no", "go 2!"), reply("sat"), reply("said")))
    opened = (
        "<|im_start|>user\ngo 1!<|im_end|><|im_start|>assistant\nno<|im_end|>"
        "<|im_start|>user\ngo 2!<|im_end|><|im_start|>assistant\n"
    )
    assert decoded(modality, example) == [(opened, "sat<|im_end|>"), (opened, "said<|im_end|>")]


def template(turn: str, opening: str) -> str:
    return "{% for m in messages %}" + turn + "{% endfor %}{% if add_generation_prompt %}" + opening + "{% endif %}"


def test_a_token_over_the_boundary_of_a_chat_is_split(text: MakeText) -> None:
    # " sat" is one token: the prompt's last token, " ", is no prefix of the whole.
    modality = text(chat_template=template("{{ m.role + ': ' + m.content + '<|im_end|>' }}", "{{ 'assistant: ' }}"))
    example = modality.encode(pair(chat("go"), reply("sat"), reply("said")))
    assert decoded(modality, example)[0] == ("user: go<|im_end|>assistant: ", "sat<|im_end|>")
    whole = modality.tokenizer("user: go<|im_end|>assistant: sat<|im_end|>")["input_ids"]
    assert example.cells[0].prompt.tolist() != whole[: len(example.cells[0].prompt)]


def test_a_template_that_ends_no_turn_is_ended_for_it(text: MakeText) -> None:
    modality = text(chat_template=template("{{ m.role + ':\n' + m.content + '\n' }}", "{{ 'assistant:\n' }}"))
    (_, completion), _ = decoded(modality, modality.encode(pair(chat("go"), reply("sat"), reply("said"))))
    assert completion == "sat\n<|im_end|>"
    bare = text(chat_template=modality.chat_template, add_eos=False)
    assert decoded(bare, bare.encode(pair(chat("go"), reply("sat"), reply("said"))))[0][1] == "sat\n"


def test_a_template_that_opens_a_turn_otherwise_than_it_writes_it_is_refused(text: MakeText) -> None:
    modality = text(
        chat_template=template("{{ m.role + ':' + m.content + '<|im_end|>' }}", "{{ 'assistant:<think>' }}")
    )
    with pytest.raises(RowError, match=r"opens the assistant's turn with '<think>'") as caught:
        modality.encode(pair(chat("go"), reply("sat"), reply("said")))
    assert "chat_template_kwargs" in caught.value.cure


def test_template_variables_tools_and_row_options_arrive(text: MakeText) -> None:
    shown = "{{ mood or '' }}{{ tools[0].name if tools else '' }}"
    modality = text(
        chat_template=shown + template("{{ m.role + ':' + m.content + '<|im_end|>' }}", "{{ 'assistant:' }}"),
        chat_template_kwargs={"mood": "calm"},
    )
    messages = (chat("go"), reply("sat"), reply("said"))
    rows = [
        ({}, "calm"),
        ({"tools": [{"name": "dig"}]}, "calmdig"),
        ({"tools": '[{"name": "dig"}]', "chat_template_kwargs": {"mood": "wild"}}, "wilddig"),
    ]
    for extra, start in rows:
        (prompt, _), _ = decoded(modality, modality.encode(pair(*messages, extra=extra)))
        assert prompt == f"{start}user:go<|im_end|>assistant:"


def test_content_parts_and_absent_keys_of_columnar_files(text: MakeText) -> None:
    modality = text()
    parts = [
        {"role": "user", "content": [{"type": "text", "text": "go "}, {"type": "text", "text": "on"}], "name": None}
    ]
    (prompt, _), _ = decoded(modality, modality.encode(pair(parts, reply("a"), reply("b"))))
    assert "user\ngo on<|im_end|>" in prompt


def test_a_context_replaces_the_prompt_of_its_candidate(text: MakeText) -> None:
    modality = text()
    example = modality.encode(Comparison("The cat", (Candidate("a"), Candidate("a", context="The dog"))))
    assert decoded(modality, example) == [("The cat", "a<|im_end|>"), ("The dog", "a<|im_end|>")]


def test_a_chat_template_from_a_file(text: MakeText, tmp_path: Any) -> None:
    file = tmp_path / "my.jinja"
    file.write_text(template("{{ m.content + '<|im_end|>' }}", ""))
    modality = text(chat_template=str(file))
    assert decoded(modality, modality.encode(pair(chat("go"), reply("sat"), reply("said"))))[0][0] == "go<|im_end|>"
    with pytest.raises(UserError, match=r"no file 'absent\.jinja'"):
        text(chat_template="absent.jinja")


def test_a_chat_without_any_template_is_a_config_error(text: MakeText) -> None:
    modality = text()
    modality.tokenizer.chat_template = None
    with pytest.raises(ConfigError, match=r"no chat template.*\n.*modality\.chat_template"):
        modality.encode(pair(chat("go"), reply("sat"), reply("said")))
    with pytest.raises(ConfigError, match="Jinja"):
        text(chat_template="{% if %}").encode(pair(chat("go"), reply("sat"), reply("said")))


BAD_ROWS = {
    "prompt None": (pair(None, "a", "b"), "prompt", "NoneType, not text"),
    "prompt number": (pair(3, "a", "b"), "prompt", "type int, not text"),
    "prompt bytes": (pair(b"a", "a", "b"), "prompt", "type bytes, not text"),
    "response None": (pair("a", "b", None), "rejected", "NoneType, not text"),
    "response number": (pair("a", 1.5, "b"), "chosen", "type float, not text"),
    "response empty": (pair("a", "", "b"), "chosen", "the response is empty"),
    "surrogate": (pair("a", "\ud83d", "b"), "chosen", "no valid Unicode"),
    "surrogate prompt": (pair("\ud83d", "a", "b"), "prompt", "no valid Unicode"),
    "mixed": (pair("a", reply("b"), "c"), "chosen", "the prompt is text and the response is a chat"),
    "mixed otherwise": (pair(chat("a"), "b", "c"), "chosen", "the prompt is a chat and the response is text"),
    "chat and number": (pair(chat("a"), 4, "c"), "chosen", "the prompt is a chat and the response is of type int"),
    "no messages": (pair([], reply("b"), reply("c")), "prompt", "without messages"),
    "no reply": (pair(chat("a"), [], reply("c")), "chosen", "the response is empty"),
    "blank reply": (pair(chat("a"), reply(" "), reply("c")), "chosen", "the response is empty"),
    "not messages": (pair(["a"], reply("b"), reply("c")), "prompt", "message 0 is str"),
    "no role": (pair([{"content": "a"}], reply("b"), reply("c")), "prompt", "no role"),
    "number role": (pair([{"role": 3, "content": "a"}], reply("b"), reply("c")), "prompt", "no role"),
    "no content": (pair([{"role": "user"}], reply("b"), reply("c")), "prompt", "content of type NoneType"),
    "number content": (pair([{"role": "user", "content": 1}], reply("b"), reply("c")), "prompt", "type int"),
    "odd parts": (pair([{"role": "user", "content": ["a"]}], reply("b"), reply("c")), "prompt", "type list"),
    "image": (pair([{"role": "user", "content": [{"type": "image"}]}], reply("b"), reply("c")), "prompt", "than text"),
    "user's words": (pair(chat("a"), [*reply("b"), *chat("c")], reply("d")), "chosen", "messages of user"),
    "unknown role": (pair([{"role": "wizard", "content": "a"}], reply("b"), reply("c")), None, "unknown role wizard"),
    "broken tools": (pair(chat("a"), reply("b"), reply("c"), extra={"tools": "[{"}), "tools", "no valid JSON"),
    "odd options": (
        pair(chat("a"), reply("b"), reply("c"), extra={"chat_template_kwargs": 3}),
        "chat_template_kwargs",
        "not a mapping",
    ),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_says_what_is_wrong(text: MakeText, name: str) -> None:
    comparison, column, message = BAD_ROWS[name]
    with pytest.raises(RowError, match=message) as caught:
        text().encode(comparison)
    assert caught.value.column == column
    assert caught.value.cure


def test_errors_inside_a_template_are_row_errors(text: MakeText) -> None:
    modality = text(chat_template="{{ messages[0].content + messages[0].depth }}")
    for message in ({"role": "user", "content": "a", "depth": 3}, {"role": "user", "content": "a"}):
        with pytest.raises(RowError, match="the chat template refuses the messages"):
            modality.encode(pair([message], reply("b"), reply("c")))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "tool_calls"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def modality(model_folder: Callable[[str], str]) -> Text:
    return Text(model_folder("llama"), max_length=128)


def encode_or_refuse(modality: Text, prompt: Any, chosen: Any, rejected: Any) -> None:
    try:
        example = modality.encode(pair(prompt, chosen, rejected))
    except RowError:
        return
    assert all(len(cell.prompt) and len(cell.completion) for cell in example.cells)


@settings(max_examples=300, deadline=None)
@given(prompt=anything, chosen=anything, rejected=anything)
def test_whatever_a_row_holds_it_is_encoded_or_a_row_error(
    modality: Text, prompt: Any, chosen: Any, rejected: Any
) -> None:
    encode_or_refuse(modality, prompt, chosen, rejected)


# Random values are hardly ever messages; these nearly are.
roles = st.sampled_from(["user", "assistant", "system", "tool", "wizard", ""]) | st.none() | st.integers()
contents = (
    st.text(max_size=5) | st.none() | st.integers() | st.lists(st.just({"type": "text", "text": "a"}), max_size=2)
)
messages = st.lists(st.fixed_dictionaries({"role": roles, "content": contents}), max_size=3)


@settings(max_examples=200, deadline=None)
@given(prompt=messages, chosen=messages, rejected=messages)
def test_whatever_a_chat_holds_it_is_encoded_or_a_row_error(
    modality: Text, prompt: Any, chosen: Any, rejected: Any
) -> None:
    encode_or_refuse(modality, prompt, chosen, rejected)
