"""From text to ids: the boundary is lm-eval's, BOS stands once, and a turn ends where the template says."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from harness.errors import UserError
from harness.policy.encoding import PLAIN_TEMPLATE, Encoded, TextEncoder
from harness.policy.types import Prompt
from harness.records import Message

CORPUS = ["the cat sat on the mat. the cat's mat sat there; that other theme: theatre, the rest."] * 4
TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)


def merging_tokenizer(*, bos: bool = False, template: Any = None) -> Any:
    """Byte-level BPE without pre-tokenisation: its merges run across words, and across any boundary."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<|end|>"]
    core.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=special,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    if bos:
        core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="</s>",
        bos_token="<s>" if bos else None,
        additional_special_tokens=["<|end|>"],
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = template
    return tokenizer


def encoder(**settings: Any) -> TextEncoder:
    return TextEncoder(merging_tokenizer(**settings), max_length=64)


def lm_evals_pair(tokenizer: Any, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """lm-eval's own splitting, run on its own class with nothing but the tokenizer."""
    from lm_eval.api.model import TemplateLM

    class Bare:
        backend = "causal"

        def tok_encode(self, text: str) -> list[int]:
            bos = tokenizer.bos_token
            return tokenizer.encode(text, add_special_tokens=not (bos and text.startswith(bos)))

    return TemplateLM._encode_pair(Bare(), context, continuation)


CONTEXTS = ["the c", "the cat", "the cat ", "the cat  \n", "<s>the ca", "that other the", "mat."]
ANSWERS = ["at sat", " sat", "there", " the mat.", "\n", "me", "'s"]


@pytest.mark.parametrize("bos", [False, True])
def test_the_boundary_is_where_lm_eval_puts_it(bos: bool) -> None:
    ours = encoder(bos=bos)
    crossed = 0
    for context, answer in product(CONTEXTS, ANSWERS):
        expected = lm_evals_pair(ours.tokenizer, context, answer)
        if not expected[1]:
            continue  # lm-eval itself fails there; see the next test but one
        found = ours.encode(Prompt(text=context), answer)
        assert (list(found.prompt), list(found.completion)) == expected, (context, answer)
        whole = ours.tokenizer.encode(context + answer)
        crossed += whole[: len(expected[0])] != expected[0]
    assert crossed >= 3, "no merge crosses a boundary: the test would pass with any rule"


def test_an_assistant_prefix_splits_like_a_longer_prompt() -> None:
    """Prompt and prefix are read as their joined text, even where a merge makes one token of both."""
    ours, crossed = encoder(bos=True), 0
    for context, prefix, answer in product(["the cat", "that other "], [" sat", "the", " on the "], ANSWERS):
        parted = ours.encode(Prompt(text=context, assistant_prefix=prefix), answer)
        joined = ours.encode(Prompt(text=context + prefix), answer)
        assert parted.completion == joined.completion
        assert parted.prompt + parted.prefix == joined.prompt
        assert parted.prompt
        crossed += parted.prompt != ours.encode(Prompt(text=context)).prompt
    assert crossed, "no merge crosses from prompt to prefix: the test would pass with any rule"


def test_an_answer_always_has_tokens_even_where_a_merge_swallows_it() -> None:
    """Without tokens its log-probability would be 0, and it would win every multiple choice."""
    ours = encoder()
    swallowed = [
        (context, answer)
        for context, answer in product(["th", "the c", "ca", "o", "ma"], ["e", "at", "t", "n", "a"])
        if not lm_evals_pair(ours.tokenizer, context, answer)[1]
    ]
    assert swallowed, "no merge swallows an answer: the test shows nothing"
    for context, answer in swallowed:
        assert ours.text(ours.encode(Prompt(text=context), answer).completion) == answer


def test_bos_stands_once_whether_the_tokenizer_or_the_text_writes_it() -> None:
    plain, written = (encoder(bos=True, template=template) for template in (TEMPLATE, "{{ bos_token }}" + TEMPLATE))
    question = Prompt(messages=(Message("user", "the cat"),))
    for ours in (plain, written):
        ids = ours.encode(question, "sat").prompt
        assert ids[0] == 0
        assert ids.count(0) == 1
    assert plain.encode(question).prompt == written.encode(question).prompt
    assert plain.encode(Prompt(text="<s>the cat")).prompt == plain.encode(Prompt(text="the cat")).prompt


def test_an_empty_prompt_is_bos_or_the_end_of_text_and_the_answer_gets_no_second_one() -> None:
    for bos, first in ((True, 0), (False, 1)):
        ours = encoder(bos=bos)
        found = ours.encode(Prompt(text=""), "the cat")
        assert found.prompt == (first,)
        assert list(found.completion) == ours.tokenizer.encode("the cat", add_special_tokens=False)
        begun = ours.encode(Prompt(assistant_prefix="the cat"), " sat")
        assert begun.prompt == (first,)
        assert ours.text([*begun.prefix, *begun.completion]) == "the cat sat"


def test_white_space_after_a_rendered_conversation_stays_in_the_prompt() -> None:
    """The model generates after it; in bare text it goes to the answer, as in lm-eval."""
    ours = encoder(template=TEMPLATE)
    chat = ours.encode(Prompt(messages=(Message("user", "the cat"),)), "sat")
    assert ours.tokenizer.decode(chat.prompt).endswith("<|assistant|>\n")
    assert ours.text(chat.completion) == "sat"
    bare = ours.encode(Prompt(text="the cat\n"), "sat")
    assert ours.text(bare.prompt) == "the cat"
    assert ours.text(bare.completion) == "\nsat"


def test_prompts_for_sampling_and_for_scoring_are_the_same_conversation() -> None:
    ours = encoder(template=TEMPLATE)
    prompt = Prompt(messages=(Message("system", "on the mat"), Message("user", "the cat")))
    assert ours.encode(prompt).prompt == ours.encode(prompt, "sat").prompt
    assert ours.encode(prompt).completion == ()


def test_the_end_of_turn_is_what_the_template_writes_after_an_answer() -> None:
    ours = encoder(template=TEMPLATE)
    end = ours.tokenizer.convert_tokens_to_ids("<|end|>")
    assert ours.end_of_turn == (end,)
    assert ours.stop_ids == {end, ours.tokenizer.eos_token_id}
    assert TextEncoder(ours.tokenizer, max_length=8, extra_stop_ids=[7]).stop_ids == ours.stop_ids | {7}


def test_without_a_template_a_plain_one_ends_turns_with_the_end_of_text() -> None:
    ours = encoder()
    assert ours.template == PLAIN_TEMPLATE
    text = ours.render([Message("user", "the cat"), Message("assistant", "sat"), Message("user", "on")])
    assert text == "### User:\nthe cat\n### Assistant:\nsat</s>\n### User:\non\n### Assistant:\n"
    assert ours.end_of_turn == (ours.tokenizer.eos_token_id,)


def test_a_template_that_never_ends_a_turn_is_the_users_error() -> None:
    ours = encoder(template="{% for m in messages %}{{ m.content }}{% endfor %}")
    with pytest.raises(UserError, match="no end of turn"):
        _ = ours.end_of_turn


def test_an_end_of_turn_of_several_ordinary_tokens_is_no_stop_token() -> None:
    """Its first token would cut answers short wherever they contain it."""
    ours = encoder(template="{% for m in messages %}{{ m.content + ' ###END' }}{% endfor %}")
    assert len(ours.end_of_turn) > 1
    assert ours.stop_ids == {ours.tokenizer.eos_token_id}


def test_fitting_keeps_the_right_end_and_flags_only_what_was_cut() -> None:
    request = Encoded(tuple(range(10)), (), (1, 2), Prompt(text="x"))
    kept = request.fitted(8, reserve=3)
    assert (kept.prompt, kept.truncated, kept.reserve) == ((5, 6, 7, 8, 9), True, 3)
    assert request.fitted(13, reserve=3).prompt == request.prompt
    assert not request.fitted(13, reserve=3).truncated
    with pytest.raises(UserError, match="8 tokens after the prompt"):
        request.fitted(8, reserve=8)


def test_a_prompt_is_messages_or_text() -> None:
    with pytest.raises(ValueError, match="not both"):
        Prompt(messages=(Message("user", "a"),), text="b")


def test_of_several_chat_templates_the_default_is_taken_and_none_guessed() -> None:
    named = {"default": "{% for m in messages %}{{ m['content'] + ' ' }}{% endfor %}!", "tool_use": "tools"}
    assert encoder(template=named).render([Message("user", "the cat")]) == "the cat !"
    with pytest.raises(UserError, match="none of them is called default: rag, tool_use"):
        encoder(template={"tool_use": "tools", "rag": "documents"})
