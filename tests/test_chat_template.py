"""Chat templates are probed: every template that the installed TRL ships is trained as it writes itself."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import trl

from harness.errors import UserError
from harness.policy.chat_template import DEFAULT_DATE, ChatTemplate
from harness.policy.encoding import PLAIN_TEMPLATE, TextEncoder
from harness.policy.types import Prompt
from harness.records import Demonstration, Message
from harness.training.labelled_rows import IGNORED, training_rows

SHIPPED = sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
ENDS = "<|end|>"


@cache
def byte_tokenizer():  # type: ignore[no-untyped-def]
    """Every byte is a token, so that a text and its tokens say the same; its end of text is <eos>."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={letter: at for at, letter in enumerate(letters)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>")


def template(text: str, **given: object) -> ChatTemplate:
    return ChatTemplate(byte_tokenizer(), text, **given)  # type: ignore[arg-type]


def turns(*texts: str) -> tuple[Message, ...]:
    return tuple(Message("user" if at % 2 == 0 else "assistant", text) for at, text in enumerate(texts))


CHATML = "{% for m in messages %}{{ '<' + m.role + '>' + m.content + '<|end|>\n' }}{% endfor %}"
OPENING = "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: path.stem)
def test_labels_are_what_a_shipped_template_writes_for_an_answer(file: Path) -> None:
    encoder = TextEncoder(byte_tokenizer(), max_length=1 << 20, template=file.read_text("utf-8"))
    for texts in (("Name a fruit.", "An apple."), ("Two lines?", "First.\n\nSecond.")):
        talk = turns(*texts)
        (row,) = training_rows([Demonstration(talk, "d")], encoder).rows
        written = encoder.render(talk, generation_prompt=False)
        read = byte_tokenizer().decode(row.input_ids)
        assert written.startswith(read) or (read.startswith(written.rstrip()) and not encoder.chat._tail)
        trained = byte_tokenizer().decode([label for label in row.labels if label != IGNORED])
        assert read.endswith(trained)
        assert trained.startswith(encoder.chat.lead)
        assert trained.removeprefix(encoder.chat.lead).removesuffix(encoder.chat.end_of_turn).strip() == texts[1]
        # what is left of the rendering is the end of the conversation, never a part of the answer
        assert texts[1] not in written[len(read) :]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: path.stem)
def test_every_role_survives_a_shipped_template_once_its_remedies_are_applied(file: Path) -> None:
    chat = template(file.read_text("utf-8"))
    said = (Message("system", "Be brief."), *turns("Who?", "Ask."), Message("tool", "Ada"), Message("user", "And now?"))
    text = chat.render(said)
    places = [text.find(message.content) for message in said]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: path.stem)
def test_an_answer_is_scored_after_the_ids_that_it_is_trained_after(file: Path) -> None:
    encoder = TextEncoder(byte_tokenizer(), max_length=1 << 20, template=file.read_text("utf-8"))
    talk = turns("Name a fruit.", "An apple.")
    (row,) = training_rows([Demonstration(talk, "d")], encoder).rows
    scored = encoder.encode(Prompt(messages=talk[:1]), "An apple.")
    ids = [*scored.prompt, *scored.prefix, *scored.completion, *encoder.end_of_turn]
    assert row.input_ids == ids


def test_two_days_render_alike_unless_the_experiment_names_another_date() -> None:
    text = "{{ 'Today is ' + strftime_now('%d %B %Y') + '. ' }}" + CHATML + OPENING
    assert template(text).render(turns("Hi")) == "Today is 01 January 2025. <user>Hi<|end|>\n<assistant>"
    assert template(text, date="2026-11-27").render(turns("Hi")).startswith("Today is 27 November 2026. ")
    assert f"its date is {DEFAULT_DATE}" in template(text).remedies
    assert template(CHATML + OPENING).remedies == ()
    with pytest.raises(UserError, match=r"the date is '27\.11\.2026'"):
        template(text, date="27.11.2026").render(turns("Hi"))


def test_a_template_may_ask_whether_it_has_a_clock() -> None:
    text = "{% if strftime_now is defined %}{% set day = strftime_now('%-d/%m') %}{% endif %}{{ day }}" + CHATML
    assert template(text + OPENING, date="2026-03-04").render(turns("Hi")).startswith("4/03<user>")


def test_a_refused_system_turn_and_a_refused_second_user_turn_are_joined_to_the_first() -> None:
    refusing = (
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}"
    )
    chat = template(refusing + CHATML + OPENING)
    said = (Message("system", "Be brief."), Message("user", "Who?"), Message("user", "And where?"))
    assert chat.render(said) == "<user>Be brief.\n\nWho?\n\nAnd where?<|end|>\n<assistant>"
    assert chat.remedies == (
        "the system text is put before the first user turn",
        "successive user turns are joined",
        "a tool's result is given as a user turn",
    )


def test_an_opened_thought_that_finished_turns_lack_ends_the_prompt_before_it() -> None:
    chat = template(CHATML + "{% if add_generation_prompt %}{{ '<assistant><think>\n' }}{% endif %}")
    assert chat.prompt(turns("Hi")) == "<user>Hi<|end|>\n<assistant>"
    assert chat.answer(turns("Hi"), "Yes") == "Yes"
    assert chat.opened == "<think>\n"


def test_an_empty_thought_that_finished_turns_have_is_trained_and_stands_before_what_is_scored() -> None:
    text = (
        "{% for m in messages %}{{ '<' + m.role + '>' }}"
        "{% if m.role == 'assistant' %}{{ '<think></think>' }}{% endif %}{{ m.content + '<|end|>' }}{% endfor %}"
    )
    encoder = TextEncoder(byte_tokenizer(), max_length=999, template=text + OPENING)
    assert encoder.chat.lead == "<think></think>"
    scored = encoder.encode(Prompt(messages=turns("Hi")), "Yes")
    decode = byte_tokenizer().decode
    assert decode(scored.prompt) == "<user>Hi<|end|><assistant>"
    assert decode(scored.prefix) == "<think></think>"
    assert decode(scored.completion) == "Yes"
    assert not encoder.encode(Prompt(messages=turns("Hi"))).prefix
    trained = encoder.encode_turn(turns("Hi"), "Yes")
    assert decode(trained.completion) == "<think></think>Yes"


def test_a_mark_at_the_end_of_the_conversation_is_not_the_end_of_the_turn() -> None:
    text = CHATML + OPENING.replace("endif", "else %}{{ '<eos>' }}{% endif")
    assert template(text).end_of_turn == ENDS


def test_a_template_that_drops_answers_or_takes_none_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="drops or refuses a plain question and answer"):
        template("{{ messages[0].content }}").render(turns("Hi"))


def test_a_conversation_that_the_template_refuses_names_its_turns() -> None:
    text = "{% if messages|length > 3 %}{{ raise_exception('too long') }}{% endif %}" + CHATML + OPENING
    with pytest.raises(UserError, match="refuses this conversation: too long"):
        template(text).render(turns("a", "b", "c", "d", "e"))


def test_template_arguments_reach_the_template() -> None:
    text = CHATML + "{% if add_generation_prompt %}{{ '<assistant>' + ('' if thinking else '<off>') }}{% endif %}"
    assert template(text, arguments={"thinking": True}).render(turns("Hi")).endswith("<assistant>")
    assert template(text, arguments={"thinking": False}).render(turns("Hi")).endswith("<off>")


@pytest.mark.parametrize(("end", "lead"), [("\n", ""), ("", "\n"), ("\n\n", "\n\n")])
def test_newlines_around_an_answer_keep_their_tokens_though_the_tokenizer_would_merge_them(end: str, lead: str) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {letter: at for at, letter in enumerate(letters)} | {"ĊĊ": len(letters)}
    core = Tokenizer(models.BPE(vocab=vocab, merges=[("Ċ", "Ċ")]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>")
    text = "{% for m in messages %}{{ m.role + '\n' + m.content + '<eos>' }}{% endfor %}"
    text += "{% if add_generation_prompt %}{{ 'assistant\n' }}{% endif %}"
    encoder = TextEncoder(tokenizer, max_length=99, template=text)
    answer = f"{lead}yes{end}"
    for encoded in (encoder.encode(Prompt(messages=turns("Hi")), answer), encoder.encode_turn(turns("Hi"), answer)):
        assert tokenizer.decode(encoded.completion) == answer
        assert encoded.prompt == encoder.encode(Prompt(messages=turns("Hi"))).prompt


def test_the_plain_template_needs_no_remedy() -> None:
    assert template(PLAIN_TEMPLATE).remedies == ()
    assert template(PLAIN_TEMPLATE).end_of_turn == "<eos>"


def test_a_turn_that_is_not_to_be_imitated_is_read_and_not_trained() -> None:
    encoder = TextEncoder(byte_tokenizer(), max_length=999, template=CHATML + OPENING)
    wrong = Message("assistant", "5", trained=False)
    talk = (Message("user", "2+2?"), wrong, Message("user", "Sure?"), Message("assistant", "4"))
    (row,) = training_rows([Demonstration(talk, "d")], encoder).rows
    decode = byte_tokenizer().decode
    assert decode(row.input_ids).startswith("<user>2+2?<|end|>\n<assistant>5<|end|>")
    assert decode([label for label in row.labels if label != IGNORED]) == "4<|end|>"


def test_thoughts_given_apart_are_written_by_the_template_or_refused_by_name() -> None:
    writes = CHATML.replace(
        "m.content", "('<think>' + m.reasoning_content + '</think>' if m.reasoning_content else '') + m.content"
    )
    talk = (Message("user", "2+2?"), Message("assistant", "4", thoughts="two twos"))
    encoder = TextEncoder(byte_tokenizer(), max_length=999, template=writes + OPENING)
    (row,) = training_rows([Demonstration(talk, "d")], encoder).rows
    assert byte_tokenizer().decode(row.input_ids).endswith("<assistant><think>two twos</think>4<|end|>")
    with pytest.raises(UserError, match="demonstration d: the chat template drops the thoughts"):
        training_rows(
            [Demonstration(talk, "d")], TextEncoder(byte_tokenizer(), max_length=999, template=CHATML + OPENING)
        )
