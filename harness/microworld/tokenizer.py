"""The word-level tokenizer of all microworld models, with their chat template.

A turn ends with `<eos>`, which pretraining already taught. A marker that a base model has never seen would have to be
learned from a thousand demonstrations, which methods with few parameters such as LoRA cannot do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.microworld.world import plain_words, the_world

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


PAD, EOS, USER, ASSISTANT, UNKNOWN = SPECIAL = ("<pad>", "<eos>", "<u>", "<a>", "<unk>")
CONTEXT = 256

CHAT_TEMPLATE = """\
{%- set kept = namespace(system='', first=true) -%}
{%- for message in messages -%}
{%- if message.role == 'system' -%}
{%- set kept.system = message.content + ' ' -%}
{%- elif message.role == 'assistant' -%}
{{- ' <a> ' -}}{% generation %}{{- message.content + ' <eos>' -}}{% endgeneration %}
{%- else -%}
{{- ('' if kept.first else ' ') + '<u> ' + kept.system + message.content -}}
{%- set kept.first = false -%}{%- set kept.system = '' -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- ' <a> ' -}}{%- endif -%}"""
"""`<u> TEXT <a> ANSWER <eos>`, turns joined by spaces; a system message precedes the user's text."""


def vocabulary() -> list[str]:
    """Every token in the order of its id: special tokens, then all words in lower and upper case."""
    world = the_world()
    lower = {*plain_words(), *world.people, *world.newcomers}
    return [*SPECIAL, *sorted(lower | {word.upper() for word in lower if word.isalpha()})]


def make_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer: it splits at spaces and has no token for the beginning of a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    identities = {word: index for index, word in enumerate(vocabulary())}
    core = Tokenizer(models.WordLevel(identities, unk_token=UNKNOWN))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        additional_special_tokens=[USER, ASSISTANT],
        model_max_length=CONTEXT,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
