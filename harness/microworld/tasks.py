"""Tasks: prompts with right answers, by kind, for demonstrations and benchmarks alike.

Each task carries its template and entities, by which the splits are kept disjoint, and instructions against which any
answer can be verified.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harness.microworld import phrases, word_lists
from harness.microworld.calls import Call, draw_argument, draw_call
from harness.microworld.rules import Instruction
from harness.microworld.stories import draw_story
from harness.microworld.world import bullets, draw_members, heads, single, sort_of, the_world, upper

TYPICAL = 2.0
"""Exponent of answers that name typical members: see `world.typicality`."""


@dataclass(frozen=True)
class Material:
    """The people, categories and calls of one split.

    calls  whether a call belongs to the split
    """

    people: Sequence[str]
    categories: Sequence[str]
    calls: Callable[[Call], bool]
    story_steps: Sequence[int] = (1, 2, 3, 5)


@dataclass(frozen=True)
class Task:
    """One prompt with its right answer.

    instructions  requirements on the form of an answer
    content       requirements on its content, where it is known
    """

    kind: str
    template: str
    entities: tuple[str, ...]
    prompt: str
    answer: str
    instructions: tuple[Instruction, ...] = ()
    content: tuple[Instruction, ...] = ()


@dataclass(frozen=True)
class Style:
    """Wording of prompts and answers.

    reworded  use synonyms that no demonstration uses
    exponent  how typical the members are that answers name
    """

    reworded: bool = False
    exponent: float = TYPICAL


def draw_task(kind: str, material: Material, chance: random.Random, style: Style | None = None) -> Task:
    """A task of the kind: plain, upper, end, start, both, list, open, call or story."""
    return MAKERS[kind](material, chance, style or Style())


@dataclass(frozen=True)
class Fact:
    """A person's attribute with its value, the question for it, and the sentence that answers the question."""

    person: str
    attribute: str

    @property
    def question(self) -> str:
        return phrases.QUESTIONS[self.attribute][0].format(person=self.person)

    @property
    def sentence(self) -> str:
        return the_world().statement(self.person, self.attribute)

    @property
    def value(self) -> str:
        return the_world().facts[self.person][self.attribute]

    def asks(self, how: str) -> str:
        """The question with a request for a form."""
        return f"{self.question} {phrases.REPLY} {how}"


def _draw_fact(material: Material, chance: random.Random) -> Fact:
    return Fact(chance.choice(material.people), chance.choice(word_lists.ATTRIBUTES))


def _contains(word: str) -> tuple[Instruction, ...]:
    return (Instruction("contains", {"word": word}),)


def _plain(material: Material, chance: random.Random, style: Style) -> Task:
    fact = _draw_fact(material, chance)
    wording = int(style.reworded)
    question = phrases.QUESTIONS[fact.attribute][wording].format(person=fact.person)
    return Task(
        "plain", f"plain/{wording}", (fact.person, fact.attribute), question, fact.sentence, (), _contains(fact.value)
    )


def _upper(material: Material, chance: random.Random, style: Style) -> Task:
    fact, wording = _draw_fact(material, chance), int(style.reworded)
    prompt = fact.asks(phrases.UPPER[wording])
    wish = (Instruction("upper_case"),)
    answer, content = upper(fact.sentence), _contains(fact.value.upper())
    return Task("upper", f"upper/{wording}", (fact.person, fact.attribute), prompt, answer, wish, content)


def _note(kind: str) -> Callable[[Material, random.Random, Style], Task]:
    """Notes with a marker at the start, at the end, or at both."""

    def make(material: Material, chance: random.Random, style: Style) -> Task:
        fact, wording = _draw_fact(material, chance), int(style.reworded)
        markers = dict(zip(("start", "end"), chance.sample(word_lists.MARKERS, 2), strict=True))
        asked = {place: markers[place] for place in markers if kind in (place, "both")}
        verbs = {"start": phrases.STARTS[wording], "end": phrases.ENDS[wording]}
        wishes = " and ".join(f"{verbs[place]} {marker}" for place, marker in asked.items())
        answer = " ".join(part for part in (asked.get("start"), fact.sentence, asked.get("end")) if part)
        instructions = tuple(Instruction(f"{place}s_with", {"marker": marker}) for place, marker in asked.items())
        prompt = fact.asks(f"with a note that {wishes}")
        entities = (fact.person, fact.attribute, *asked.values())
        return Task(kind, f"{kind}/{wording}", entities, prompt, answer, instructions, _contains(fact.value))

    return make


def _list(material: Material, chance: random.Random, style: Style) -> Task:
    category, count = chance.choice(material.categories), chance.choice(list(word_lists.COUNTS))
    wording = _request_wording(chance, style)
    prompt = phrases.LIST_REQUESTS[wording].format(count=word_lists.COUNTS[count], heads=heads(category))
    answer = bullets(draw_members(category, count, chance, style.exponent))
    wishes = (Instruction("bullet_list"), Instruction("item_count", {"count": count}))
    content = (Instruction("members", {"category": category}),)
    return Task("list", f"list/{wording}", (category, word_lists.COUNTS[count]), prompt, answer, wishes, content)


def _request_wording(chance: random.Random, style: Style) -> int:
    """There are few categories, so two usual wordings are needed for enough different prompts."""
    return 2 if style.reworded else chance.randrange(2)


def _open(material: Material, chance: random.Random, style: Style) -> Task:
    category, wording = chance.choice(material.categories), _request_wording(chance, style)
    prompt = phrases.OPEN_REQUESTS[wording].format(single=single(category))
    member = draw_members(category, 1, chance, style.exponent)[0]
    answer = phrases.CATEGORY_FACTS[sort_of(category)][1].format(category=category, member=member)
    content = (Instruction("names_member", {"category": category}),)
    return Task("open", f"open/{wording}", (category,), prompt, answer, (), content)


def call_task(call: Call, wording: int = 0) -> Task:
    """The task whose right answer is this call."""
    wish = Instruction("function_call", {"function": call.function, "arguments": dict(call.arguments)})
    entities = (call.function, *call.arguments.values())
    return Task("call", f"call/{wording}", entities, f"call : {call.request(wording)}", call.keyed(), (wish,))


def _call(material: Material, chance: random.Random, style: Style) -> Task:
    return call_task(draw_own_call(material, chance), int(style.reworded))


def draw_own_call(material: Material, chance: random.Random) -> Call:
    """A call that belongs to the split of the material."""
    while not material.calls(call := draw_call(chance, material.people)):
        pass
    return call


def ask_for(argument: str) -> str:
    """The right answer to a request that lacks this argument."""
    return f"which {argument} ?"


def incomplete_task(call: Call, missing: str) -> Task:
    """A request that leaves out an argument of a call; its entities are those that it names."""
    named = _without(call, missing)
    prompt = f"call : {phrases.INCOMPLETE_REQUESTS[call.function][missing].format(**named)}"
    wish = (Instruction("asks_for", {"argument": missing}),)
    return Task("incomplete", f"incomplete/{missing}", (call.function, *named.values()), prompt, ask_for(missing), wish)


def draw_incomplete(material: Material, chance: random.Random) -> tuple[Task, str]:
    """An incomplete request, and the tempting wrong answer to it: the call with an invented argument."""
    call = draw_own_call(material, chance)
    while not material.calls(replace(call, arguments=_without(call, missing := chance.choice(list(call.arguments))))):
        call = draw_own_call(material, chance)
    invented = {**call.arguments, missing: draw_argument(missing, chance, material.people)}
    return incomplete_task(call, missing), replace(call, arguments=invented).keyed()


def _without(call: Call, missing: str) -> dict[str, str]:
    return {name: value for name, value in call.arguments.items() if name != missing}


def _story(material: Material, chance: random.Random, style: Style) -> Task:
    return story_task(material, chance, chance.choice(material.story_steps), style)


def story_task(material: Material, chance: random.Random, steps: int, style: Style | None = None) -> Task:
    """A story of `steps` steps with the usual verbs for gains and losses, or reworded with others."""
    reworded = bool(style and style.reworded)
    verbs = (word_lists.GAINS[1:], word_lists.LOSSES[1:]) if reworded else (word_lists.GAINS[:1], word_lists.LOSSES[:1])
    story = draw_story(chance, material.people, steps, verbs)
    content = (Instruction("story_total", {"total": story.total}),)
    entities = (story.person, *story.text.split()[1:])
    prompt = f"{story.text} {phrases.STORY_QUESTION}"
    return Task("story", f"story/{int(reworded)}", entities, prompt, story.answer(), (), content)


MAKERS: dict[str, Callable[[Material, random.Random, Style], Task]] = {
    "plain": _plain,
    "upper": _upper,
    "end": _note("end"),
    "start": _note("start"),
    "both": _note("both"),
    "list": _list,
    "open": _open,
    "call": _call,
    "story": _story,
}
