"""Reflection on demonstrations (Selective Reflection-Tuning, arXiv 2402.10110): a model improves rows.

Which version is best depends on the model that is trained, so nothing is chosen here: each input row gives a group of
versions, whose ids end in the version's name, and a method chooses among them.

    ID/original      the unchanged row
    ID/instruction   a better instruction, with its answer
    ID/response      the original instruction with a better answer
    ID/both          the better instruction with an even better answer
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.curation.writing.drafts import Draft, Generated, Sieve
from harness.curation.writing.filters import answer_fault, instruction_fault
from harness.curation.writing.requests import REFLECT_ON_ANSWER, REFLECT_ON_INSTRUCTION, filled
from harness.curation.writing.writer import Writer
from harness.data.examples import Example
from harness.data.words import words_of
from harness.errors import UserError
from harness.records import AFTER, Demonstration


def refine(examples: Sequence[Example], writer: Writer) -> Generated:
    """The versions, group by group in the order of the examples; failed versions are listed with their reasons.

    Raises UserError where no row is one question with one answer.
    """
    found = Generated()
    originals = _originals(examples, found)
    better = _reflected(originals, writer, REFLECT_ON_INSTRUCTION, _with_instruction, found)
    _reflected([*originals, *better], writer, REFLECT_ON_ANSWER, _with_answer, found)
    place = {one.record.id: at for at, one in enumerate(examples)}
    found.examples.sort(key=lambda one: place[str(one.extra["parent"])])
    return found


def _originals(examples: Sequence[Example], found: Generated) -> list[Draft]:
    drafts = [_draft(one) for one in examples]
    sieve = Sieve(drafts)
    sieve.drop(lambda one: "" if one.answer else "not one question with one answer")
    if not sieve.passed:
        raise UserError("no row is one question with one answer", fix="Give demonstrations of one turn.")
    by_id = {one.record.id: one for one in examples}
    kept = [_as_it_was(one, by_id[one.parents[0]]) for one in sieve.passed]
    found.close_round("one turn", len(drafts), kept, sieve.removed)
    return sieve.passed


def _draft(example: Example) -> Draft:
    record, id = example.record, example.record.id
    messages = record.messages if isinstance(record, Demonstration) else ()
    one_turn = [message.role for message in messages] == ["user", "assistant"]
    asked, answer = (messages[0].content, messages[1].content) if one_turn else ("", "")
    return Draft(f"{id}/original", asked, "original", 0, (id,), example.origin, answer)


def _as_it_was(draft: Draft, example: Example) -> Example:
    made = draft.example("")
    return replace(made, record=replace(made.record, source=example.record.source))


def _reflected(
    drafts: Sequence[Draft], writer: Writer, request: str, read: Callable[[Draft, str], Draft], found: Generated
) -> list[Draft]:
    """A better version of each draft for which the model gives one."""
    asked = [filled(request, instruction=one.instruction, answer=one.answer) for one in drafts]
    said = writer.ask(asked, [f"{one.id}/reflect" for one in drafts])
    sieve = Sieve([replace(read(one, text), cut_off=cut) for one, (text, cut) in zip(drafts, said, strict=True)])
    before = {f"{one.parents[0]}/{name}": one for one in drafts for name in ("instruction", AFTER[one.operator])}
    sieve.drop(lambda one: _fault(one, before[one.id]))
    step = "better instructions" if read is _with_instruction else "better answers"
    found.close_round(step, len(drafts), [one.example(writer.name) for one in sieve.passed], sieve.removed)
    return sieve.passed


def _with_instruction(draft: Draft, text: str) -> Draft:
    asked, answer = (_between(text, name) for name in ("instruction", "answer"))
    id = f"{draft.parents[0]}/instruction"
    return replace(draft, id=id, operator="instruction", round=1, instruction=asked, answer=answer)


def _with_answer(draft: Draft, text: str) -> Draft:
    name = AFTER[draft.operator]
    return replace(draft, id=f"{draft.parents[0]}/{name}", operator=name, round=2, answer=_between(text, "answer"))


def _between(text: str, name: str) -> str:
    """The text between the last such marks, or ""."""
    end = text.rfind(f"</{name}>")
    start = text.rfind(f"<{name}>", 0, max(end, 0))
    return text[start + len(name) + 2 : end].strip() if start >= 0 else ""


def _fault(one: Draft, before: Draft) -> str:
    if not one.answer or not one.instruction:
        return "cut off at the limit of tokens" if one.cut_off else "not in the form asked for"
    if one.operator == "instruction":
        return instruction_fault(one.instruction, before.instruction) or answer_fault(one.answer, one.instruction)
    if words_of(one.answer) == words_of(before.answer):
        return "says what the answer said"
    return answer_fault(one.answer, one.instruction)
