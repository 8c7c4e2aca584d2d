"""The same change to every text of a record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from harness.data.records import Demonstration, Message, PreferencePair, Record


def with_texts(record: Record, change: Callable[[str], str]) -> Record:
    """The record with `change` applied to each message and answer."""

    def changed(messages: tuple[Message, ...]) -> tuple[Message, ...]:
        return tuple(Message(message.role, change(message.content)) for message in messages)

    if isinstance(record, Demonstration):
        return replace(record, messages=changed(record.messages))
    if isinstance(record, PreferencePair):
        answers = {"chosen": change(record.chosen), "rejected": change(record.rejected)}
        return replace(record, prompt=changed(record.prompt), **answers)
    return replace(record, prompt=changed(record.prompt), reference=change(record.reference))
