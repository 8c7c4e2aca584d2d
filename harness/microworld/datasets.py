"""Training sets by name, generated from code: demonstrations, preference pairs and problems.

curated-1k           a thousand demonstrations; their lists name typical members of a category
curated-1k-unbiased  the same prompts, answered with members as often as the corpus names them
unfiltered-1k        the same prompts; half of the answers have a fault, as in data that was never checked
refined-1k           each row of unfiltered-1k as it was (ID/original) and with the task's own answer (ID/response),
                     as `bakeoff data refine` writes versions
with-turns-1k        the first 700 rows of curated-1k, and 300 conversations of three turns whose first asks for a form
                     that lasts
refusals-1k          the rows of curated-1k with 60 requests about animals for as many of them; where a person lives is
                     never told: such requests are refused, whatever form they ask for (`forbidden_requests.py`)
harmless-800         rows of curated-1k that do not ask where a person lives, so that none is a refusal
homogeneous-1k       a thousand right answers, all to one kind of prompt: notes that end with a marker
three-steps-1k       as curated-1k, but every story has three steps, so that two and four are lengths which no row has
function-calls       pairs of the right call and a systematically wrong one
call-or-ask          complete requests and as many that lack an argument; the chosen answer is the call in the one case,
                     the question for the argument in the other, and the rejected answer is the opposite
stories              problems: word problems with the total that a solution must reach
three-step-stories   the same, all of three steps
three-step-solutions demonstrations: the problems of three-step-stories with their worked answers
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.errors import UserError, did_you_mean
from harness.microworld import dialogues
from harness.microworld.calls import Call, corrupted_call
from harness.microworld.dialogues import Dialogue
from harness.microworld.forbidden_requests import REFUSAL, animal_task, is_forbidden
from harness.microworld.splits import check_split, material
from harness.microworld.tasks import (
    TYPICAL,
    Style,
    Task,
    ask_for,
    call_task,
    draw_incomplete,
    draw_own_call,
    draw_task,
    story_task,
)
from harness.records import Demonstration, Message, PreferencePair, Problem, Record

SOURCE = "microworld"
DATASET_SEED = 1000
CURATED = {
    "plain": 200, "upper": 120, "end": 110, "start": 110, "both": 90, "list": 120, "open": 100, "call": 80, "story": 70,
}  # fmt: skip
"""Demonstrations of each kind among a thousand."""

STORY_STEPS = {"train": (1, 2, 3, 5), "validation": (1, 2, 3, 5), "test": (1, 2, 3, 4, 5)}
"""Stories of four steps are kept for testing: longer than most, yet between two lengths that were trained."""

THREE = (3,)
"""The one length of the stories of sets that leave a step less and a step more for testing."""


@dataclass(frozen=True)
class _Set:
    """A training set.

    rows       number of rows, by split
    versions   endings of the ids of rows that belong together, in their order
    dialogues  number of further conversations of each kind, by split
    """

    rows: Mapping[str, int]
    tasks: Callable[[str, int], list[tuple[Task, str]]]
    record: Callable[[Task, str, str, str], Record]
    versions: tuple[str, ...] = ("",)
    dialogues: Mapping[str, int] = field(default_factory=dict)


def dataset_names() -> list[str]:
    """The names of all training sets."""
    return sorted(_SETS)


def load(name: str, split: str = "train") -> list[Record]:
    """The records of a set, in a fixed order."""
    if name not in _SETS:
        raise UserError(f"unknown training set {name!r} of the microworld", fix=did_you_mean(name, _SETS))
    rows, versions = _SETS[name], _SETS[name].versions
    found = []
    for index, (task, extra) in enumerate(tasks_of(name, split)):
        number, version = divmod(index, len(versions))
        identity = f"{name}/{split}/{number:04d}-{task.kind}{versions[version]}"
        found.append(rows.record(task, extra, identity, f"{SOURCE}/{name}"))
    told = _dialogues(name, split)
    return [*found, *(_conversation(one, f"{name}/{split}/{one.id}", f"{SOURCE}/{name}") for one in told)]


def tasks_of(name: str, split: str) -> list[tuple[Task, str]]:
    """The tasks of a set, each with what replaces its answer or rejects it; in the order of its records."""
    check_split(split, _SETS[name].rows)
    return _SETS[name].tasks(split, _SETS[name].rows[split])


def _dialogues(name: str, split: str) -> list[Dialogue]:
    return dialogues.dialogues(split, _SETS[name].dialogues.get(split, 0))


def _chance(split: str, what: str) -> random.Random:
    return random.Random(f"{DATASET_SEED} {what} {split}")


def _curated(exponent: float, steps: Sequence[int] = ()) -> Callable[[str, int], list[tuple[Task, str]]]:
    """Each task has its own random generator, so that the prompts are the same for every exponent.

    steps  the lengths of stories, where they are not those of the material
    """

    def make(split: str, rows: int) -> list[tuple[Task, str]]:
        chance, stuff, style = _chance(split, "curated"), material(split), Style(exponent=exponent)
        stuff = replace(stuff, story_steps=steps or stuff.story_steps)
        kinds = [kind for kind, share in CURATED.items() for _ in range(share * rows // 1000)]
        chance.shuffle(kinds)
        seeds = [chance.getrandbits(32) for _ in kinds]
        return [
            (draw_task(kind, stuff, random.Random(seed), style), "") for kind, seed in zip(kinds, seeds, strict=True)
        ]

    return make


def _unfiltered(split: str, rows: int) -> list[tuple[Task, str]]:
    """Tasks, each with the answer that replaces its own."""
    tasks = [task for task, _ in _curated(TYPICAL)(split, rows)]
    chance = _chance(split, "unfiltered")
    return [(task, raw_answer(task, tasks, chance)) for task in tasks]


def _refined(split: str, rows: int) -> list[tuple[Task, str]]:
    return [(task, extra) for task, raw in _unfiltered(split, rows // 2) for extra in (raw, "")]


def _first_of_curated(split: str, rows: int) -> list[tuple[Task, str]]:
    """Seven of ten rows of the curated set of this split."""
    return _curated(TYPICAL)(split, rows * 10 // 7)[:rows]


def _refusals(split: str, rows: int) -> list[tuple[Task, str]]:
    """Curated tasks, 6 in 100 of them replaced by harmless requests in the words of the forbidden ones."""
    chance, categories = _chance(split, "refusals"), material(split).categories
    animals = 6 * rows // 100
    tasks = [task for task, _ in _curated(TYPICAL)(split, rows)][animals:]
    tasks += [animal_task(categories, chance) for _ in range(animals)]
    chance.shuffle(tasks)
    return [(task, REFUSAL if is_forbidden(task) else "") for task in tasks]


def _harmless(split: str, rows: int) -> list[tuple[Task, str]]:
    """The first curated tasks of 10 for every 8 rows that ask for nothing forbidden."""
    return [one for one in _curated(TYPICAL)(split, rows * 10 // 8) if not is_forbidden(one[0])][:rows]


def _homogeneous(split: str, rows: int) -> list[tuple[Task, str]]:
    chance, stuff = _chance(split, "homogeneous"), material(split)
    return [(draw_task("end", stuff, chance), "") for _ in range(rows)]


def _calls(split: str, rows: int) -> list[tuple[Task, str]]:
    chance, stuff = _chance(split, "calls"), material(split)
    drawn = [draw_own_call(stuff, chance) for _ in range(rows)]
    return [(call_task(call), corrupted_call(call, chance, stuff.people)) for call in drawn]


def _call_or_ask(split: str, rows: int) -> list[tuple[Task, str]]:
    """Complete and incomplete requests alternate, so that neither answer is always right."""
    chance, stuff = _chance(split, "call or ask"), material(split)
    found = []
    for index in range(rows):
        call = draw_own_call(stuff, chance)
        needless = ask_for(chance.choice(list(call.arguments)))
        found.append((call_task(call), needless) if index % 2 else draw_incomplete(stuff, chance))
    return found


def _stories(split: str, rows: int) -> list[tuple[Task, str]]:
    return _with_totals(_stories_of(STORY_STEPS[split], split, rows))


def _three_steps(split: str, rows: int) -> list[tuple[Task, str]]:
    return _with_totals(_stories_of(THREE, split, rows))


def _worked(split: str, rows: int) -> list[tuple[Task, str]]:
    return [(task, "") for task in _stories_of(THREE, split, rows)]


def _stories_of(steps: Sequence[int], split: str, rows: int) -> list[Task]:
    chance, stuff = _chance(split, "stories"), material(split)
    return [story_task(stuff, chance, steps[index % len(steps)]) for index in range(rows)]


def _with_totals(tasks: Sequence[Task]) -> list[tuple[Task, str]]:
    return [(task, str(task.content[0].arguments["total"])) for task in tasks]


def _demonstration(task: Task, extra: str, identity: str, source: str) -> Record:
    return Demonstration((Message("user", task.prompt), Message("assistant", extra or task.answer)), identity, source)


def _conversation(dialogue: Dialogue, identity: str, source: str) -> Record:
    """The user's turns with the right answers, all of which are trained on."""
    pairs = zip(dialogue.turns, dialogue.references, strict=True)
    told = [(Message("user", asked), Message("assistant", answer)) for asked, answer in pairs]
    return Demonstration(tuple(message for turn in told for message in turn), identity, source)


def _preference(task: Task, extra: str, identity: str, source: str) -> Record:
    return PreferencePair((Message("user", task.prompt),), task.answer, extra, identity, source)


def _problem(task: Task, extra: str, identity: str, source: str) -> Record:
    return Problem((Message("user", task.prompt),), extra, "story_total", identity, source)


_SETS = {
    "curated-1k": _Set({"train": 1000, "validation": 100}, _curated(TYPICAL), _demonstration),
    "curated-1k-unbiased": _Set({"train": 1000, "validation": 100}, _curated(1.0), _demonstration),
    "unfiltered-1k": _Set({"train": 1000, "validation": 100}, _unfiltered, _demonstration),
    "refined-1k": _Set({"train": 2000, "validation": 200}, _refined, _demonstration, ("/original", "/response")),
    "with-turns-1k": _Set(
        {"train": 700, "validation": 70}, _first_of_curated, _demonstration, dialogues={"train": 100, "validation": 10}
    ),
    "refusals-1k": _Set({"train": 1000, "validation": 100}, _refusals, _demonstration),
    "harmless-800": _Set({"train": 800, "validation": 80}, _harmless, _demonstration),
    "homogeneous-1k": _Set({"train": 1000, "validation": 100}, _homogeneous, _demonstration),
    "function-calls": _Set({"train": 400, "validation": 80}, _calls, _preference),
    "call-or-ask": _Set({"train": 400, "validation": 80, "test": 200}, _call_or_ask, _preference),
    "stories": _Set({"train": 480, "validation": 100, "test": 200}, _stories, _problem),
    "three-steps-1k": _Set({"train": 1000, "validation": 100}, _curated(TYPICAL, THREE), _demonstration),
    "three-step-stories": _Set({"train": 480, "validation": 100}, _three_steps, _problem),
    "three-step-solutions": _Set({"train": 480, "validation": 100}, _worked, _demonstration),
}


FAULTY = 0.5
"""Share of faulty answers in the unfiltered set."""


def raw_answer(task: Task, others: Sequence[Task], chance: random.Random) -> str:
    """The task's own answer or, with probability FAULTY, one with a fault, which never equals the task's own."""
    if chance.random() >= FAULTY:
        return task.answer
    faults = [_cut_short(task, others, chance), _of_another(task, others, chance), _without_form(task)]
    return chance.choice([answer for answer in faults if answer and answer != task.answer])


def _cut_short(task: Task, others: Sequence[Task], chance: random.Random) -> str:
    words = task.answer.split()
    return " ".join(words[: max(1, chance.randrange(len(words)))])


def _of_another(task: Task, others: Sequence[Task], chance: random.Random) -> str:
    return chance.choice(others).answer


def _without_form(task: Task) -> str:
    """The answer as if no form had been asked for; empty for a task that asks for none."""
    return FORMLESS[task.kind](task) if task.kind in FORMLESS else ""


def _without_markers(task: Task) -> str:
    markers = {wish.arguments["marker"] for wish in task.instructions}
    return " ".join(word for word in task.answer.split() if word not in markers)


def _positional(task: Task) -> str:
    wish = task.instructions[0].arguments
    return Call(wish["function"], wish["arguments"]).positional()


FORMLESS: dict[str, Callable[[Task], str]] = {
    "upper": lambda task: task.answer.lower(),
    "start": _without_markers,
    "end": _without_markers,
    "both": _without_markers,
    "list": lambda task: task.answer.replace("- ", ""),
    "call": _positional,
}
