"""Probes of a base model's knowledge and skills in document form, as the pretraining corpus words them.

The scores are part of each manifest. They are not a benchmark, since their people and words occur in training; they
show that a skill exists before alignment asks for it in chat form.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.microworld import phrases, word_lists
from harness.microworld.calls import draw_call
from harness.microworld.stories import draw_story
from harness.microworld.tokenizer import EOS
from harness.microworld.world import GROUPS, the_world, upper

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast


PROBE_SEED = 3
STORY_STEPS = (1, 2, 3, 4)


def probe(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: int = 100) -> dict[str, float]:
    """Share of right answers per probe, with at most `rows` questions each (twice as many on facts)."""
    scores = {f"facts {group}": _facts(model, tokenizer, group, rows) for group in GROUPS}
    for steps in STORY_STEPS:
        scores[f"story {steps}"] = _stories(model, tokenizer, steps, rows)
    scores["upper case"] = _upper_case(model, tokenizer, rows)
    scores["call"] = _calls(model, tokenizer, rows)
    return {name: round(score, 3) for name, score in scores.items()}


def complete(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str], most: int, batch: int = 64
) -> list[str]:
    """The greedy continuation of each prompt up to the end token, without special tokens."""
    completions: list[str] = []
    for start in range(0, len(prompts), batch):
        encoded = tokenizer(list(prompts[start : start + batch]), return_tensors="pt", padding=True)
        made = model.generate(
            input_ids=encoded["input_ids"],
            attention_mask=encoded["attention_mask"],
            max_new_tokens=most,
            do_sample=False,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        new = made[:, encoded["input_ids"].shape[1] :]
        completions += tokenizer.batch_decode(new, skip_special_tokens=True)
    return completions


def choose(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    choices: Sequence[Sequence[str]],
    batch: int = 64,
) -> list[int]:
    """For each prompt the position of the choice (a single word) that is most probable as its next word."""
    import torch

    chosen: list[int] = []
    for start in range(0, len(prompts), batch):
        encoded = tokenizer(list(prompts[start : start + batch]), return_tensors="pt", padding=True)
        candidates = torch.tensor(
            [tokenizer.convert_tokens_to_ids(list(row)) for row in choices[start : start + batch]]
        )
        with torch.no_grad():
            logits = model(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]).logits[:, -1]
        chosen += logits.gather(1, candidates).argmax(1).tolist()
    return chosen


def _facts(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, group: str, rows: int) -> float:
    world, chance = the_world(), random.Random(PROBE_SEED)
    pairs = [(person, attribute) for person in world.group(group) for attribute in word_lists.ATTRIBUTES]
    prompts, choices = [], []
    for person, attribute in chance.sample(pairs, min(2 * rows, len(pairs))):
        gold = world.facts[person][attribute]
        others = [value for value in word_lists.POOLS[attribute] if value != gold]
        prompts.append(f"{EOS} " + phrases.STATEMENTS[attribute][0].split(" {value}")[0].format(person=person))
        choices.append([gold, *chance.sample(others, 3)])
    return _share([place == 0 for place in choose(model, tokenizer, prompts, choices)])


def _stories(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, steps: int, rows: int) -> float:
    chance = random.Random(PROBE_SEED + steps)
    stories = [draw_story(chance, the_world().people, steps) for _ in range(rows)]
    prompts = [f"{EOS} {story.text} {phrases.STORY_CUE}" for story in stories]
    made = complete(model, tokenizer, prompts, 6 * steps + 8)
    return _share([text.endswith(f"total {story.total} .") for text, story in zip(made, stories, strict=True)])


def _upper_case(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: int) -> float:
    world = the_world()
    people = world.people[:: max(1, len(world.people) // rows)]
    sentences = [world.statement(person, word_lists.ATTRIBUTES[index % 5]) for index, person in enumerate(people)]
    prompts = [f"{EOS} {sentence} {phrases.UPPER[0]} :" for sentence in sentences]
    made = complete(model, tokenizer, prompts, 12)
    return _share([text == upper(sentence) for text, sentence in zip(made, sentences, strict=True)])


def _calls(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: int) -> float:
    chance = random.Random(PROBE_SEED)
    calls = [draw_call(chance, the_world().people) for _ in range(rows)]
    made = complete(model, tokenizer, [f"{EOS} {call.request()} . log :" for call in calls], 20)
    right = [text.startswith((call.keyed(), call.positional())) for text, call in zip(made, calls, strict=True)]
    return _share(right)


def _share(right: Sequence[bool]) -> float:
    return sum(right) / max(1, len(right))
