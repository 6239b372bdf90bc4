"""Prompts with images: what is refused, and the form in which a template gets them."""

from typing import Any

import pytest

from modalign.core.errors import ConfigError, RowError
from modalign.modalities.vision_language.messages import PartsRenderer, checked_prompt, texts_of
from modalign.modalities.vision_language.prompts import image_part, question, text_part

PARTS_ONLY = (
    "{% for m in messages %}{{ m['role'] }}:"
    "{% for p in m['content'] %}{% if p['type'] == 'image' %}[I]{% else %}{{ p['text'] }}{% endif %}{% endfor %};"
    "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)
TEXT_FOR_TEXT = (
    "{% for m in messages %}{{ m['role'] }}:"
    "{% if m['role'] == 'assistant' %}{{ m['content'] }}{% else %}{% if m['content'] is string %}{{ m['content'] }}"
    "{% else %}{% for p in m['content'] %}{% if p['type'] == 'image' %}[I]{% else %}{{ p['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{% endif %};{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)


class Template:
    """The half of a processor that renders chats."""

    def __init__(self, chat_template: str) -> None:
        self.chat_template = chat_template

    def apply_chat_template(self, messages: Any, add_generation_prompt: bool, tokenize: bool) -> str:
        from jinja2 import Environment

        template = Environment().from_string(self.chat_template)
        return template.render(messages=messages, add_generation_prompt=add_generation_prompt)


def test_text_becomes_the_users_message() -> None:
    assert checked_prompt("Hello?") == [{"role": "user", "content": [text_part("Hello?")]}]


def test_every_content_becomes_parts_and_keys_without_a_value_are_dropped() -> None:
    image = object()
    messages = [
        {"role": "system", "content": "Be brief.", "name": None},
        {
            "role": "user",
            "content": [{"type": "image", "image": image, "text": None}, {"type": "text", "text": "What?"}],
        },
    ]
    assert checked_prompt(messages) == [
        {"role": "system", "content": [text_part("Be brief.")]},
        {"role": "user", "content": [image_part(image), text_part("What?")]},
    ]
    assert texts_of(checked_prompt(messages)) == ["Be brief.", "What?"]


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        (3, "of type int"),
        ([], "without messages"),
        (["hello"], "message 0 is str"),
        ([{"content": "x"}], "message 0 has no role"),
        ([{"role": "user", "content": 4}], "content of type int"),
        ([{"role": "user", "content": [{"type": "video", "video": "a.mp4"}]}], "type 'video'"),
        ([{"role": "user", "content": [{"type": "image", "image": None}]}], "type 'image' without image"),
        ([{"role": "user", "content": ["text"]}], "cannot be used: str"),
    ],
)
def test_malformed_prompts_are_refused(prompt: Any, told: str) -> None:
    with pytest.raises(RowError, match=told) as refused:
        checked_prompt(prompt)
    assert refused.value.column == "prompt"


@pytest.mark.parametrize("template", [PARTS_ONLY, TEXT_FOR_TEXT])
def test_templates_of_both_kinds_write_all_text_and_images(template: str) -> None:
    renderer = PartsRenderer(Template(template), {})
    messages = checked_prompt([{"role": "system", "content": "Be brief."}, *question("Is <image> like <image>?", "ab")])
    messages.append({"role": "assistant", "content": "Yes."})
    assert renderer.render(messages, {}, True) == "system:Be brief.;user:Is [I] like [I]?;assistant:Yes.;assistant:"


def test_a_template_that_does_not_read_parts_is_refused() -> None:
    renderer = PartsRenderer(Template("{% for m in messages %}{{ m['content'] }}{% endfor %}"), {})
    with pytest.raises(ConfigError, match=r"(?s)does not write messages.*modality\.chat_template"):
        renderer.render(checked_prompt("Hello?"), {}, True)
