"""Requests for a call that leave out an argument: the right answer asks for it, the tempting one invents it.

A failure that is a tendency, not a lack of knowledge: whoever has only seen complete requests always calls.
"""

from __future__ import annotations

import random
from dataclasses import replace

from harness.microworld.calls import Call, draw_argument
from harness.microworld.rules import Instruction
from harness.microworld.tasks import Material, Task, draw_own_call

REQUESTS = {
    "get_weather": {"day": "what is the weather in {city}", "city": "what is the weather on {day}"},
    "book_table": {
        "city": "book a table for {count} on {day}",
        "day": "book a table for {count} in {city}",
        "count": "book a table in {city} on {day}",
    },
    "send_money": {"name": "send {amount} coins", "amount": "send coins to {name}"},
    "set_alarm": {"day": "wake me at {hour}", "hour": "wake me on {day}"},
    "buy_food": {"food": "buy {count} of them", "count": "buy some {food}"},
    "find_person": {"name": "find a person in {city}", "city": "find {name}"},
    "hire": {
        "job": "hire a person for {amount} coins in {city}",
        "city": "hire a {job} for {amount} coins",
        "amount": "hire a {job} in {city}",
    },
    "paint": {"item": "paint it {color}", "color": "paint the {item}"},
}
"""Function -> the argument that is left out -> what is said instead of the whole request."""


def ask_for(argument: str) -> str:
    """The right answer to a request without this argument."""
    return f"which {argument} ?"


def incomplete_task(call: Call, missing: str) -> Task:
    """The request for a call without one of its arguments; entities are those that the request names."""
    named = _without(call, missing)
    prompt = f"call : {REQUESTS[call.function][missing].format(**named)}"
    wish = (Instruction("asks_for", {"argument": missing}),)
    return Task("incomplete", f"incomplete/{missing}", (call.function, *named.values()), prompt, ask_for(missing), wish)


def draw_incomplete(material: Material, chance: random.Random) -> tuple[Task, str]:
    """A task of the material's split, and the tempting answer: the call with an invented argument."""
    call = draw_own_call(material, chance)
    while not material.calls(replace(call, arguments=_without(call, missing := chance.choice(list(call.arguments))))):
        call = draw_own_call(material, chance)
    invented = {**call.arguments, missing: draw_argument(missing, chance, material.people)}
    return incomplete_task(call, missing), replace(call, arguments=invented).keyed()


def _without(call: Call, missing: str) -> dict[str, str]:
    return {name: value for name, value in call.arguments.items() if name != missing}
