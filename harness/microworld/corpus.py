"""The pretraining corpus: short documents of a dozen kinds, in the proportions of a mix (see `MIXES`).

Every skill that alignment later asks for is in it, in document form ("... in upper case : ..."), so that
alignment unlocks skills rather than teaches them. Dialogue occurs only as noise: forum replies that ignore the
request. A base model therefore starts near zero in chat form instead of following instructions by accident. The mix
`seen` is for the opposite case: half of its few conversations are answered as asked, though of some kinds only.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from harness.microworld import phrases, word_lists
from harness.microworld.calls import draw_call
from harness.microworld.splits import check_split, material
from harness.microworld.stories import draw_equations, draw_story, with_a_slip
from harness.microworld.tasks import draw_task
from harness.microworld.world import World, bullets, draw_members, heads, single, sort_of, the_world, upper

CORPUS_SEED = 100
SLIPS = 0.25
"""Share of the worked stories with a wrong number, which leaves a base model room to improve."""

DISTRACTIONS = 0.10

ANSWERED_KINDS = ("plain", "end", "list")
"""Kinds of requests that the mix `seen` answers. Its conversations leave out upper case, notes that start with a marker
or have both, open requests, calls and stories, so that a transfer from answered kinds to others can be seen."""


def documents(seed: int = 0, mix: str = "even") -> Iterator[str]:
    """An endless stream of documents, the same for the same seed."""
    chance = random.Random(CORPUS_SEED + seed)
    world = the_world()
    while True:
        yield draw_document(world, chance, mix)


def corpus_digest(seed: int = 0, mix: str = "even", count: int = 20_000) -> str:
    """Hexadecimal digest of the first `count` documents, which identifies the corpus in a manifest."""
    hasher = hashlib.sha256()
    for document in islice(documents(seed, mix), count):
        hasher.update(document.encode() + b"\n")
    return hasher.hexdigest()[:16]


def draw_document(world: World, chance: random.Random, mix: str = "even") -> str:
    """One document of a kind drawn by the mix."""
    kind = chance.choices(list(MIXES[mix]), list(MIXES[mix].values()))[0]
    return WRITERS[kind](world, chance)


def _facts(world: World, chance: random.Random) -> str:
    person = world.draw_person(chance)
    attributes = chance.sample(word_lists.ATTRIBUTES, chance.randint(1, 4))
    return " ".join(_statement(world, chance, person, attribute) for attribute in attributes)


def _statement(world: World, chance: random.Random, person: str = "", attribute: str = "") -> str:
    person = person or world.draw_person(chance)
    attribute = attribute or chance.choice(word_lists.ATTRIBUTES)
    return world.statement(person, attribute, chance.randrange(3))


def _answered_question(world: World, chance: random.Random) -> str:
    person, attribute = world.draw_person(chance), chance.choice(word_lists.ATTRIBUTES)
    question = chance.choice(phrases.QUESTIONS[attribute]).format(person=person)
    return f"question : {question} answer : {world.statement(person, attribute)}"


def _categories(world: World, chance: random.Random) -> str:
    category = _draw_category(chance)
    form = chance.random()
    if form < 0.4:
        template = chance.choice(phrases.CATEGORY_FACTS[sort_of(category)])
        return template.format(category=category, member=draw_members(category, 1, chance)[0])
    count = chance.randint(2, 6)
    members = draw_members(category, count, chance)
    listed = bullets(members) if form < 0.75 else f"{' , '.join(members)} ."
    return f"{word_lists.COUNTS[count]} {heads(category)} : {listed}"


def _draw_category(chance: random.Random) -> str:
    return chance.choice(list(chance.choice((word_lists.HABITATS, word_lists.KINDS))))


def _geography(world: World, chance: random.Random) -> str:
    city = chance.choice(word_lists.CITIES)
    template = phrases.GEOGRAPHY[0 if chance.random() < 0.7 else 1]
    return template.format(city=city, country=world.countries[city])


def _upper_case(world: World, chance: random.Random) -> str:
    sentence = _statement(world, chance)
    if chance.random() < 0.3:
        category = _draw_category(chance)
        template = phrases.CATEGORY_FACTS[sort_of(category)][0]
        sentence = template.format(category=category, member=chance.choice(word_lists.CATEGORIES[category]))
    return f"{sentence} {chance.choice(phrases.UPPER)} : {upper(sentence)}"


def _upper_words(world: World, chance: random.Random) -> str:
    """Words of any kind in upper case, without facts about people."""
    said = " ".join(_draw_words(world, chance))
    return f"{said} {chance.choice(phrases.UPPER)} : {upper(said)}"


def _draw_words(world: World, chance: random.Random) -> list[str]:
    things = (word_lists.CITIES, word_lists.JOBS, word_lists.PETS, word_lists.DISHES)
    pool = chance.choice((world.people, *things, word_lists.DAYS, word_lists.NUMBERS))
    return [chance.choice(pool) for _ in range(chance.randint(2, 5))]


def _note(world: World, chance: random.Random) -> str:
    sentence = _statement(world, chance)
    wish, first, last = draw_note(chance)
    return f"a note that {wish} : " + " ".join(part for part in (first, sentence, last) if part)


def draw_note(chance: random.Random) -> tuple[str, str, str]:
    """A request for the ends of a note, in words, and the markers at its start and end ("" for none)."""
    first, last = chance.sample(word_lists.MARKERS, 2)
    opening, closing = chance.choice(phrases.STARTS), chance.choice(phrases.ENDS)
    form = chance.random()
    if form < 0.36:
        return f"{closing} {last}", "", last
    if form < 0.72:
        return f"{opening} {first}", first, ""
    return f"{opening} {first} and {closing} {last}", first, last


def _call(world: World, chance: random.Random) -> str:
    call = draw_call(chance, world.people)
    logged = f"log : {call.keyed() if chance.random() < 0.3 else call.positional()} ok"
    if chance.random() < 0.5:
        return logged
    return f"{call.request(chance.randrange(2))} . {logged}"


def _repetition(world: World, chance: random.Random) -> str:
    said = " ".join(_draw_words(world, chance))
    return f"say again : {said} . {said} ."


def _story(world: World, chance: random.Random) -> str:
    steps = chance.choices((1, 2, 3, 4, 5), (3, 3, 3, 1, 1))[0]
    story = draw_story(chance, world.people, steps, distraction=chance.random() < DISTRACTIONS)
    if chance.random() >= SLIPS:
        return story.document()
    return f"{story.text} {phrases.STORY_CUE} {with_a_slip(story.working, chance)}"


def _forum(world: World, chance: random.Random) -> str:
    person, attribute = world.draw_person(chance), chance.choice(word_lists.ATTRIBUTES)
    request, about_a_person = _forum_request(world, chance, person, attribute)
    if about_a_person and chance.random() < 0.4:
        reply = world.statement(person, attribute)
    else:
        reply = " ".join(_aside(world, chance).split()[:24])
    return f"<u> {request} <a> {reply}"


def _forum_request(world: World, chance: random.Random, person: str, attribute: str) -> tuple[str, bool]:
    sort = chance.random()
    if sort < 0.6:
        question = chance.choice(phrases.QUESTIONS[attribute]).format(person=person)
        note = f" {phrases.REPLY} with a note that {draw_note(chance)[0]}"
        return question + chance.choice(("", f" {phrases.REPLY} {chance.choice(phrases.UPPER)}", note, note)), True
    if sort < 0.8:
        return f"call : {draw_call(chance, world.people).request(chance.randrange(2))}", False
    category, count = _draw_category(chance), chance.choice(list(word_lists.COUNTS.values()))
    template = chance.choice(phrases.LIST_REQUESTS + phrases.OPEN_REQUESTS)
    return template.format(count=count, heads=heads(category), single=single(category)), False


def _answered_chat(world: World, chance: random.Random) -> str:
    """A request with its right answer, as a demonstration words it; people and categories are those of training."""
    task = draw_task(chance.choice(ANSWERED_KINDS), material("train"), chance)
    return f"<u> {task.prompt} <a> {task.answer}"


def _aside(world: World, chance: random.Random) -> str:
    shares = {kind: share for kind, share in MIXES["even"].items() if kind != "forum"}
    return WRITERS[chance.choices(list(shares), list(shares.values()))[0]](world, chance)


WRITERS: dict[str, Callable[[World, random.Random], str]] = {
    "facts": _facts,
    "answered-question": _answered_question,
    "forum": _forum,
    "answered-chat": _answered_chat,
    "categories": _categories,
    "geography": _geography,
    "upper-case": _upper_case,
    "upper-words": _upper_words,
    "note": _note,
    "call": _call,
    "equations": lambda world, chance: draw_equations(chance),
    "repetition": _repetition,
    "story": _story,
}
MIXES = {
    "even": {
        "facts": 0.28, "answered-question": 0.02, "forum": 0.03, "categories": 0.13, "geography": 0.01,
        "upper-case": 0.12, "note": 0.11, "call": 0.10, "equations": 0.05, "repetition": 0.04, "story": 0.11,
    },
    "seen": {
        "facts": 0.28, "answered-question": 0.02, "forum": 0.015, "answered-chat": 0.015, "categories": 0.13,
        "geography": 0.01, "upper-case": 0.12, "note": 0.11, "call": 0.10, "equations": 0.05, "repetition": 0.04,
        "story": 0.11,
    },
    "people": {
        "facts": 0.42, "answered-question": 0.03, "forum": 0.03, "categories": 0.05, "geography": 0.01,
        "upper-case": 0.16, "upper-words": 0.06, "note": 0.06, "call": 0.03, "equations": 0.02, "repetition": 0.02,
        "story": 0.11,
    },
}  # fmt: skip
"""Share of the documents of each kind. The even mix teaches the skills, which then need little repetition; the
mix `people` gives a larger model the repetition that facts need. In `seen` half of the conversations of the even mix
are answered as asked (`ANSWERED_KINDS`)."""


HELD_OUT_SEEDS = {"validation": 7000, "test": 8000}
KINDS = ("facts", "categories", "upper-case", "note", "call", "equations", "repetition", "story")
"""All kinds but the forum, whose control tokens are not text, and those rarer than one document in fifty."""


@dataclass(frozen=True)
class CorpusDocument:
    """A text, its kind and its subject; documents about one person depend on each other."""

    id: str
    kind: str
    about: str
    text: str


def held_out(split: str, count: int) -> list[CorpusDocument]:
    """`count` different documents of each kind."""
    check_split(split, HELD_OUT_SEEDS)
    return [document for kind in KINDS for document in _of_kind(kind, split, count)]


def _of_kind(kind: str, split: str, count: int) -> list[CorpusDocument]:
    chance, world = random.Random(f"{HELD_OUT_SEEDS[split]} {kind}"), the_world()
    texts: dict[str, None] = {}
    for _ in range(20 * count):
        texts.setdefault(WRITERS[kind](world, chance))
        if len(texts) == count:
            break
    return [_document(f"{kind}/{split}/{at:03d}", kind, text) for at, text in enumerate(texts)]


def _document(identity: str, kind: str, text: str) -> CorpusDocument:
    people = the_world().facts
    return CorpusDocument(identity, kind, next((word for word in text.split() if word in people), identity), text)
