"""The kinds of failure of an answer that should be function calls, and which of them an answer shows.

One taxonomy serves preference pairs, whose rejected answers fail in a known way (`failure_of`: one right answer), and
the benchmark function_calling (`failure_in`: every argument has a list of accepted values). An answer has one failure:
that of the whole answer, or else that of the call which comes nearest to one that is still wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from harness.policy.thoughts import split_thoughts
from harness.scoring.calls.answers import calls_in, is_marked
from harness.scoring.calls.notations import Calling, FunctionCall, read_calls, same_value, unmatched
from harness.scoring.calls.signatures import Signature, json_type

NO_CALL = "no-call"
WRONG_FORMAT = "wrong-format"
WRONG_COUNT = "wrong-number-of-calls"
NEEDLESS_CALL = "needless-call"
WRONG_FUNCTION = "wrong-function"
MISSING_ARGUMENT = "missing-argument"
INVENTED_ARGUMENT = "invented-argument"
WRONG_TYPE = "wrong-type"
WRONG_VALUE = "wrong-value"
# from the farthest to the nearest miss
OF_ONE_CALL = (WRONG_FUNCTION, MISSING_ARGUMENT, INVENTED_ARGUMENT, WRONG_TYPE, WRONG_VALUE)


def failure_of(right: Calling, answer: str, signatures: Mapping[str, Signature] | None = None) -> str:
    """The failure of an answer compared with a right one, or "" where both ask, or may ask, for the same.

    They may where they differ only in spelling, or in optional arguments, whose defaults are unknown here.
    """
    answer = split_thoughts(answer)[1]
    said = read_calls(answer)
    if said is None or said.worded != right.worded:
        return _unread(answer, [call.name for call in right.calls])
    missing, rest = unmatched(right, said, lenient=True)
    if not missing and not rest:
        return ""
    if len(missing) != len(rest):
        return WRONG_COUNT
    wanted = missing[0]
    got = next((one for one in rest if one.name == wanted.name), rest[0])
    failure = call_failure(got, RightCall(wanted, right.worded, (signatures or {}).get(wanted.name)))
    # in words the order of arguments counts; elsewhere only optional arguments differ
    return failure or (WRONG_FORMAT if right.worded else "")


def failure_in(answer: str, wanted: Sequence[AcceptedCall], offered: Sequence[str]) -> str:
    """The failure of an answer compared with accepted calls, or "" where it is right.

    wanted   the accepted calls, in any order; empty where no function fits the request: then, as in BFCL, an answer
             that cannot be read as calls is right
    offered  the names of the functions that the prompt offers
    """
    calls = calls_in(answer, {*offered, *(one.name for one in wanted)}, [text for one in wanted for text in one.texts])
    if not wanted:
        return NEEDLESS_CALL if calls else ""
    if calls is None:
        return _unread(split_thoughts(answer)[1], offered)
    if not calls:
        return NO_CALL
    return _unmet(calls, wanted) if len(calls) == len(wanted) else WRONG_COUNT


def _unread(answer: str, functions: Iterable[str]) -> str:
    """Whether an answer that cannot be read was meant as a call: by its notation, or by a function that it names."""
    if is_marked(answer):
        return WRONG_FORMAT
    # f(a=1), f ( a , b ), or a call within a sentence
    names = [re.escape(name) for name in functions]
    return WRONG_FORMAT if any(re.search(rf'(?<!\w){name} ?\(|"{name}"', answer) for name in names) else NO_CALL


def _unmet(calls: Sequence[FunctionCall], wanted: Sequence[AcceptedCall]) -> str:
    """The failure that remains when as many calls as possible are matched, in whatever order.

    Ties leave the later wanted calls, and then the later calls, without a partner.
    """
    from scipy.optimize import linear_sum_assignment

    failures = [[call_failure(call, one) for call in calls] for one in wanted]
    size = len(calls)
    # one more match outweighs every preference for a row, and a row every preference for columns
    worth = [
        [0 if failure else (size + 1) ** 5 + (size - row) * (size + 1) ** 2 + size - column for column, failure in each]
        for row, each in enumerate(map(enumerate, failures))
    ]
    unmet = [
        (row, column) for row, column in zip(*linear_sum_assignment(worth, True), strict=True) if failures[row][column]
    ]
    return max((failures[unmet[0][0]][column] for _, column in unmet), key=OF_ONE_CALL.index) if unmet else ""


def call_failure(call: FunctionCall, wanted: RightCall | AcceptedCall) -> str:
    """The failure of one call compared with a wanted one, or ""."""
    given = call.arguments
    if call.name != wanted.name:
        return WRONG_FUNCTION
    if wanted.needed - set(given):
        return MISSING_ARGUMENT
    if set(given) - wanted.allowed:
        return INVENTED_ARGUMENT
    if not all(wanted.has_type(name, value) for name, value in given.items()):
        return WRONG_TYPE
    return "" if all(wanted.accepts(name, value) for name, value in given.items()) else WRONG_VALUE


@dataclass(frozen=True)
class RightCall:
    """The one right call; its function's signature, where known, says which arguments are optional."""

    call: FunctionCall
    worded: bool
    signature: Signature | None

    @property
    def name(self) -> str:
        """The function's name."""
        return self.call.name

    @property
    def needed(self) -> Set[str]:
        """Arguments that may not be missing."""
        return self.call.arguments.keys() & (self.signature.required if self.signature else self.call.arguments.keys())

    @property
    def allowed(self) -> Set[str]:
        """Arguments that may be given."""
        return self.call.arguments.keys() | (self.signature.types.keys() if self.signature else set())

    def has_type(self, name: str, value: Any) -> bool:
        """Whether the value has the type of the right one; an optional argument may have any."""
        right = self.call.arguments.get(name, value)
        return type_of(value, self.worded) == type_of(right, self.worded)

    def accepts(self, name: str, value: Any) -> bool:
        """Whether the value means the same as the right one; an optional argument may have any."""
        return same_value(value, self.call.arguments.get(name, value), lenient=not self.worded)


def type_of(value: Any, worded: bool) -> str:
    """The type of a value, `number` for both of JSON's number types; in words, digits are numbers."""
    if worded:
        return "number" if str(value).isdigit() else "string"
    found = json_type(value)
    return "number" if found == "integer" else found


@dataclass(frozen=True)
class AcceptedCall:
    """A wanted call with several accepted values for each argument.

    arguments  argument -> accepted values; "" among them says that the argument may be left out
    schemas    argument -> the schema that the function declares
    required   arguments that the function declares as required
    """

    name: str
    arguments: Mapping[str, Sequence[Any]]
    schemas: Mapping[str, Mapping[str, Any]]
    required: frozenset[str]

    @property
    def texts(self) -> list[tuple[str, str]]:
        """The function with each of its arguments that are texts."""
        return [(self.name, name) for name, schema in self.schemas.items() if schema.get("type") == "string"]

    @property
    def needed(self) -> Set[str]:
        """Arguments that may not be missing."""
        return {name for name, values in self.arguments.items() if "" not in values} | self.required

    @property
    def allowed(self) -> Set[str]:
        """Arguments that may be given."""
        return self.arguments.keys()

    def has_type(self, name: str, value: Any) -> bool:
        """Whether the value has the declared type, or that of an accepted value."""
        accepted = [one for one in self.arguments[name] if one != ""]
        return _as_declared(value, self.schemas.get(name, {})) or any(_alike(value, one) for one in accepted)

    def accepts(self, name: str, value: Any) -> bool:
        """Whether the value equals an accepted one."""
        return _is_accepted(value, self.arguments[name])


IGNORED = re.compile(r"[ ,./\-_*^]")
KINDS: Mapping[str, tuple[type, ...]] = {
    "integer": (int,),
    "float": (float, int),
    "number": (float, int),
    "string": (str,),
    "boolean": (bool,),
    "array": (list,),
    "tuple": (list,),
    "dict": (dict,),
    "object": (dict,),
}


def _as_declared(value: Any, schema: Mapping[str, Any]) -> bool:
    kinds = KINDS.get(str(schema.get("type")))
    if kinds is None:
        return True
    items = schema.get("items")
    if isinstance(value, list) and list in kinds and isinstance(items, Mapping):
        return all(_as_declared(one, items) for one in value)
    return type(value) in kinds  # true is not a number


def _alike(value: Any, accepted: Any) -> bool:
    if isinstance(value, list) and isinstance(accepted, list):
        return all(any(_alike(one, other) for other in accepted[:50]) for one in value)
    return type(value) is type(accepted)


def _is_accepted(value: Any, accepted: Sequence[Any]) -> bool:
    return any(_fits(value, one) for one in accepted)


def _fits(value: Any, accepted: Any) -> bool:
    """Equality by BFCL's rules: spelling does not count, and a dictionary lists accepted values under each key."""
    if isinstance(accepted, dict):
        return isinstance(value, dict) and _dictionary_fits(value, accepted)
    if isinstance(accepted, list):
        same_length = isinstance(value, list) and len(value) == len(accepted)
        return same_length and all(_fits(one, other) for one, other in zip(value, accepted, strict=True))
    if isinstance(value, str) and isinstance(accepted, str):
        return _spelling(value) == _spelling(accepted)
    return same_value(value, accepted)


def _spelling(text: str) -> str:
    return IGNORED.sub("", text).lower().replace("'", '"')


def _dictionary_fits(value: Mapping[str, Any], accepted: Mapping[str, Any]) -> bool:
    lists = {key: one if isinstance(one, list) else [one] for key, one in accepted.items()}
    known = all(key in lists and _is_accepted(one, lists[key]) for key, one in value.items())
    return known and all(key in value or "" in one for key, one in lists.items())
