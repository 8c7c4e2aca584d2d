"""Function calls: arguments drawn at random, the request in words, and the call in its two notations."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.microworld import phrases, word_lists


@dataclass(frozen=True)
class Call:
    """A function with the values of its arguments, in the order of its definition."""

    function: str
    arguments: Mapping[str, str]

    def request(self, wording: int = 0) -> str:
        """The user's request for this call."""
        return phrases.CALL_REQUESTS[self.function][wording].format(**self.arguments)

    def keyed(self) -> str:
        """The notation with named arguments, which users ask for."""
        pairs = "".join(f" , {name} : {value}" for name, value in self.arguments.items())
        return f"{{ call : {self.function}{pairs} }}"

    def positional(self) -> str:
        """The notation that most of the pretraining corpus uses."""
        return f"{self.function} ( {' , '.join(self.arguments.values())} )"


def draw_call(chance: random.Random, people: Sequence[str], function: str | None = None) -> Call:
    """A random call of the function, or of any function where none is given, with names drawn from these people."""
    function = function or chance.choice(list(phrases.FUNCTIONS))
    return Call(function, {name: draw_argument(name, chance, people) for name in phrases.FUNCTIONS[function]})


def draw_argument(name: str, chance: random.Random, people: Sequence[str]) -> str:
    """A random value for an argument of this name."""
    numbers = {"count": 9, "amount": 50, "hour": 12}
    if name in numbers:
        return str(chance.randint(1, numbers[name]))
    pools = {**word_lists.POOLS, "day": word_lists.DAYS, "name": people, "item": word_lists.PAINTABLE}
    return chance.choice(pools[name])


def corrupted_call(call: Call, chance: random.Random, people: Sequence[str]) -> str:
    """A wrong answer in place of the call."""
    return chance.choice(CORRUPTIONS)(call, chance, people)


def _wrong_value(call: Call, chance: random.Random, people: Sequence[str]) -> str:
    name = chance.choice(list(call.arguments))
    value = call.arguments[name]
    while value == call.arguments[name]:
        value = draw_argument(name, chance, people)
    return replace(call, arguments={**call.arguments, name: value}).keyed()


def _missing_argument(call: Call, chance: random.Random, people: Sequence[str]) -> str:
    dropped = chance.choice(list(call.arguments))
    kept = {name: value for name, value in call.arguments.items() if name != dropped}
    return replace(call, arguments=kept).keyed()


def _wrong_function(call: Call, chance: random.Random, people: Sequence[str]) -> str:
    others = [function for function in phrases.FUNCTIONS if function != call.function]
    return replace(call, function=chance.choice(others)).keyed()


CORRUPTIONS: Sequence[Callable[[Call, random.Random, Sequence[str]], str]] = (
    _wrong_value,
    _missing_argument,
    _wrong_function,
    # the arguments in reverse, an unclosed call, the positional notation
    lambda call, chance, people: replace(call, arguments=dict(reversed(list(call.arguments.items())))).keyed(),
    lambda call, chance, people: call.keyed().removesuffix(" }"),
    lambda call, chance, people: call.positional(),
)
