"""Requests to a writing model, in our own words; places such as `{instruction}` are filled with plain text.

Sources of the operators: Evol-Instruct (arXiv 2304.12244), Self-Instruct (arXiv 2212.10560), Selective
Reflection-Tuning (arXiv 2402.10110).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.errors import UserError, did_you_mean

_DEEPER = (
    "Here is something that a person asked of an assistant:\n\n{instruction}\n\n"
    "Make it somewhat harder, so that a good answer needs more thought. %s "
    "Add at most twenty words, keep it reasonable and complete, and keep any code, table or text that it holds. "
    "Write only what the person would then ask, and nothing else."
)
BREADTH = "breadth"
OPERATORS: dict[str, str] = {
    "add_constraint": _DEEPER % "Do so by one further requirement that the answer has to meet.",
    "deepen": _DEEPER % "Do so by asking about its subject in more depth, or about more sides of it.",
    "concretise": _DEEPER % "Do so by putting particular cases in place of general words.",
    "more_reasoning": _DEEPER % "Do so such that it can only be answered in several steps, one upon another.",
    "complicate_input": _DEEPER % "Do so by giving with it a short table, some code or other data to work on.",
    BREADTH: (
        "Here is something that a person asked of an assistant:\n\n{instruction}\n\n"
        "Write something else that a person could ask: from the same field, about as long and as hard, but rarer and "
        "on another subject. It must be reasonable and complete. Write only what the person would ask."
    ),
}
JUDGE = (
    "Two requests to an assistant:\n\nFirst: {instruction}\n\nSecond: {other}\n\n"
    "Do they demand the same: the same conditions, and an answer of the same depth and breadth? "
    "Answer with one word, Equal or Different."
)
MORE_TASKS = (
    "Here are some things that people ask of an assistant:\n\n{examples}\n\n"
    "Write {count} more, as different from these and from each other as you can, in subject, form and verb. "
    "Each must be answerable in writing without anything further. Number them from {first}, a line each."
)
REFLECT_ON_INSTRUCTION = (
    "A request to an assistant, with its answer.\n\nRequest: {instruction}\n\nAnswer: {answer}\n\n"
    "First say briefly where the request is weak: is it clear, detailed and demanding enough, and what knowledge and "
    "thought does it need? Then write a better request on the same subject, and the best answer to it, in this form:\n"
    "<instruction>the better request</instruction>\n<answer>its answer</answer>"
)
REFLECT_ON_ANSWER = (
    "A request to an assistant, with its answer.\n\nRequest: {instruction}\n\nAnswer: {answer}\n\n"
    "First say briefly where the answer is weak: is it helpful, to the point, correct and detailed enough? "
    "Then write a better answer to the same request, in this form:\n<answer>the better answer</answer>"
)


def filled(template: str, **texts: str) -> str:
    """The template with its places filled; braces in the texts have no meaning."""
    parts = [template]
    for name, text in texts.items():
        parts = [piece for part in parts for piece in _split(part, f"{{{name}}}", text)]
    return "".join(parts)


class _Filled(str):
    """Text that was filled in: places in it are not filled."""


def _split(part: str, place: str, text: str) -> list[str]:
    if isinstance(part, _Filled) or place not in part:
        return [part]
    before, *after = part.split(place)
    return [before, *(piece for rest in after for piece in (_Filled(text), rest))]


def operators_of(names: Sequence[str], own: object = None, where: str = "") -> Mapping[str, str]:
    """The operators to use, all or the named ones: those of the project, or a user's own, {name: request}.

    own    as they were read from the file `where`; None: the project's
    Raises UserError where they cannot be used or a name is unknown.
    """
    known = OPERATORS if own is None and not where else _checked(own, where)
    for name in names:
        if name not in known:
            raise UserError(f"unknown operator {name!r}", where=where, fix=did_you_mean(name, known))
    return {name: known[name] for name in names or known}


def _checked(found: object, where: str) -> dict[str, str]:
    if not isinstance(found, dict) or not found:
        raise UserError("it holds no operators", where=where, fix="Write lines of `name: request`.")
    for name, text in found.items():
        if not isinstance(name, str) or not isinstance(text, str) or "{instruction}" not in text:
            raise UserError(
                f"the operator {name!r} has no place for the instruction",
                where=where,
                fix="Write {instruction} where it belongs.",
            )
    return found
