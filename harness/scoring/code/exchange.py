"""Calls and values between the process that runs a program and the process that tests it.

Values cross as JSON, and arrive as new objects of the built-in types: of an object that claims to equal everything,
its content arrives. What cannot be copied (functions, iterators, objects of the program's own classes) stays where it
is, and a `Remote` is passed in its place. Nothing that arrives is code.

    ["ask", operation, handle, values, named values]
    ["value", value or ["argument", position], {position: what the call left in that argument}, printed text]
    ["raise", names of the exception's classes, message]
"""

from __future__ import annotations

import builtins
import contextlib
import io
import json
import os
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NoReturn

LONGEST = 16 << 20
"""Bytes of a message."""

OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "call": lambda held, *values, **named: held(*values, **named),
    "next": next,
    "iter": iter,
    "len": len,
    "bool": bool,
    "text": str,
    "item": lambda held, key: held[key],
    "has": lambda held, key: key in held,
    "get": getattr,
}
SERIES: Mapping[str, Callable[[Any], Any]] = {
    kind.__name__: kind for kind in (deque, list, tuple, set, frozenset)
}  # fmt: skip
PAIRS: Mapping[str, Callable[[Any], Any]] = {kind.__name__: kind for kind in (Counter, OrderedDict, dict)}
WRITTEN: Mapping[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "int": (int, hex, lambda text: int(text, 16)),
    "complex": (complex, repr, complex),
    "bytes": (bytes, lambda value: value.hex(), bytes.fromhex),
    "bytearray": (bytearray, lambda value: value.hex(), bytearray.fromhex),
    "Decimal": (Decimal, str, Decimal),
    "Fraction": (Fraction, str, Fraction),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
}
TYPES = {
    name: value
    for name, value in vars(builtins).items()
    if isinstance(value, type) and not name.startswith("_") and value not in (type, super)
}
CHANGEABLE = (list, dict, set, bytearray, deque)
WIDE = 1 << 53


class Remote:
    """An object that stays in the other process. It equals nothing but itself, whatever its own `__eq__` says."""

    def __init__(self, line: Connection, handle: int) -> None:
        self._line, self._handle = line, handle

    def __call__(self, *values: Any, **named: Any) -> Any:
        return self._line.ask("call", self._handle, *values, **named)

    def __iter__(self) -> Iterator[Any]:
        return self._line.ask("iter", self._handle)  # type: ignore[no-any-return]

    def __next__(self) -> Any:
        return self._line.ask("next", self._handle)

    def __len__(self) -> int:
        return self._line.ask("len", self._handle)  # type: ignore[no-any-return]

    def __bool__(self) -> bool:
        return self._line.ask("bool", self._handle) is True

    def __str__(self) -> str:
        return str(self._line.ask("text", self._handle))

    def __getitem__(self, key: Any) -> Any:
        return self._line.ask("item", self._handle, key)

    def __contains__(self, key: Any) -> bool:
        return self._line.ask("has", self._handle, key) is True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what copy and others look for
            raise AttributeError(name)
        return self._line.ask("get", self._handle, name)


class Connection:
    """One end of the line.

    names       the globals of this side, where classes that both sides know are found
    operations  what the other side may do to the objects of this side
    broken      called where the other side has ended or does not keep to the rules; it does not return
    """

    def __init__(
        self, read: int, write: int, names: dict[str, Any], operations: Sequence[str], broken: Callable[[str], NoReturn]
    ) -> None:
        self.reading, self.writing = os.fdopen(read, "rb"), os.fdopen(write, "wb", 0)
        self.names, self.operations, self.broken = names, operations, broken
        self.held: list[Any] = []
        self.known: set[str] = set()
        """Classes of which both sides have a definition."""

    def ask(self, operation: str, handle: int | None, *values: Any, **named: Any) -> Any:
        """The answer of the other side's object; its exception is raised here, and what it changed is changed here."""
        self.send(["ask", operation, handle, [self.packed(one) for one in values], self._packed_names(named)])
        while True:
            message = self.receive()
            try:
                kind, *rest = message
                if kind == "ask":
                    self.serve(*rest)
                    continue
                if kind == "raise":
                    failed = _exception(*rest)
                else:
                    value, changed, printed = rest
                    for at, now in changed.items():
                        self._change(values[int(at)], now)
                    sys.stdout.write(printed)
                    own = isinstance(value, list) and value[0] == "argument"
                    return values[value[1]] if own else self.unpacked(value)
            except Exception:
                self.broken("error")
            raise failed

    def serve(self, operation: str, handle: int | None, values: list[Any], named: dict[str, Any]) -> None:
        """Do what the other side asks, and answer."""
        printed = io.TextIOWrapper(io.BytesIO(), "utf-8", "replace", write_through=True)
        try:
            if operation not in self.operations:
                raise TypeError(f"{operation} is not possible on an object of the tests")
            given = [self.unpacked(one) for one in values]
            with contextlib.redirect_stdout(printed):
                found = self._done(operation, handle, given, {key: self.unpacked(one) for key, one in named.items()})
            after = {at: self.packed(one) for at, one in enumerate(given) if self._is_changeable(one)}
            changed = {at: now for at, now in after.items() if now != values[at]}
            own = next((at for at, one in enumerate(given) if one is found and self._is_changeable(one)), None)
            value = self.packed(found) if own is None else ["argument", own]
            answer = ["value", value, changed, printed.buffer.getvalue().decode()]
        except BaseException as error:
            answer = ["raise", [one.__name__ for one in type(error).__mro__], _message(error)]
        self.send(answer)

    def _done(self, operation: str, handle: int | None, values: list[Any], named: dict[str, Any]) -> Any:
        if operation == "share":
            self.known = set(values)
            return None
        if operation == "global":
            return self.names[values[0]]
        return OPERATIONS[operation](self.held[handle or 0], *values, **named)

    def send(self, message: list[Any]) -> None:
        """One message is one line."""
        text = json.dumps(message).encode() + b"\n"
        if len(text) > LONGEST:
            text = json.dumps(["raise", ["MemoryError"], "a value is too long"]).encode() + b"\n"
        try:
            while text:
                text = text[self.writing.write(text) :]
        except OSError:
            self.broken("lost")

    def receive(self) -> list[Any]:
        """The next message."""
        try:
            line = self.reading.readline(LONGEST + 1)
            if not line.endswith(b"\n"):
                self.broken("error" if line else "lost")
            message = json.loads(line)
        except (ValueError, RecursionError, OSError):
            self.broken("error")
        if not isinstance(message, list) or not message:
            self.broken("error")
        return message

    def packed(self, value: Any) -> Any:
        """The value as JSON: a scalar is itself, and anything else a kind with what it holds."""
        if value is None or isinstance(value, (bool, str, float)) or (isinstance(value, int) and abs(value) < WIDE):
            return _plain(value)
        for kind, (own, text, _) in WRITTEN.items():
            if isinstance(value, own):
                return [kind, text(_plain(value))]
        for name, make in SERIES.items():
            if isinstance(value, make):  # type: ignore[arg-type]
                return [name, [self.packed(one) for one in value]]
        for name, make in PAIRS.items():
            if isinstance(value, make):  # type: ignore[arg-type]
                return [name, [[self.packed(key), self.packed(one)] for key, one in dict.items(value)]]
        if isinstance(value, range):
            return ["range", [value.start, value.stop, value.step]]
        if isinstance(value, timedelta):
            return ["timedelta", [value.days, value.seconds, value.microseconds]]
        return self._packed_object(value)

    def _packed_object(self, value: Any) -> Any:
        if isinstance(value, Remote):
            return ["yours", value._handle]
        if value is Ellipsis or value is NotImplemented:
            return ["constant", str(value)]
        if isinstance(value, type) and TYPES.get(value.__name__) is value:
            return ["type", value.__name__]
        kind = type(value)
        if kind.__name__ in self.known and self.names.get(kind.__name__) is kind and hasattr(value, "__dict__"):
            return ["instance", kind.__name__, self._packed_names(vars(value))]
        self.held.append(value)
        return ["remote", len(self.held) - 1]

    def _packed_names(self, named: Mapping[str, Any]) -> dict[str, Any]:
        return {key: self.packed(one) for key, one in named.items()}

    def unpacked(self, data: Any) -> Any:
        """The value of this JSON, of built-in types or of a class that both sides know."""
        if not isinstance(data, list):
            if isinstance(data, dict):
                raise ValueError("an object is not a value")
            return data
        kind, held, *rest = data
        if kind in WRITTEN:
            return WRITTEN[kind][2](held)
        if kind in SERIES:
            return SERIES[kind]([self.unpacked(one) for one in held])
        if kind in PAIRS:
            return PAIRS[kind]({self.unpacked(key): self.unpacked(one) for key, one in held})
        if kind in ("range", "timedelta"):
            return (range if kind == "range" else timedelta)(*held)
        if kind == "constant":
            return {"Ellipsis": Ellipsis, "NotImplemented": NotImplemented}[held]
        if kind == "type":
            return TYPES[held]
        if kind == "instance":
            return self._instance(held, rest[0])
        return self.held[held] if kind == "yours" else Remote(self, int(held))

    def _instance(self, name: str, held: Mapping[str, Any]) -> Any:
        if name not in self.known:
            raise ValueError(f"{name} is not a class of both sides")
        made = object.__new__(self.names[name])
        vars(made).update({str(key): self.unpacked(one) for key, one in held.items()})
        return made

    def _is_changeable(self, value: Any) -> bool:
        return isinstance(value, CHANGEABLE) or type(value).__name__ in self.known

    def _change(self, value: Any, now: Any) -> None:
        """Give an argument of the call the content that the other side left in it."""
        new = self.unpacked(now)
        if isinstance(value, (list, bytearray)) and isinstance(new, (list, bytearray)):
            value[:] = new
        elif isinstance(value, (dict, set, deque)) and isinstance(new, (dict, set, deque)):
            value.clear()
            value.extend(new) if isinstance(value, deque) else value.update(new)
        elif type(value) is type(new) and type(value).__name__ in self.known:
            vars(value).clear()
            vars(value).update(vars(new))


def _plain(value: Any) -> Any:
    """The value as an object of the built-in type itself, whatever a subclass overrides."""
    if value is None or isinstance(value, bool):
        return value
    kinds: tuple[tuple[type, Callable[[Any], Any]], ...] = (
        (int, int.__pos__),
        (float, float.__pos__),
        (complex, complex.__pos__),
        (str, str.__str__),
    )
    return next((plain(value) for kind, plain in kinds if isinstance(value, kind)), value)


def _message(error: BaseException) -> str:
    try:
        return str(error)[:1000]
    except BaseException:
        return ""


def _exception(names: list[str], message: str) -> BaseException:
    """The exception of the first of these names that is built in; no other class is trusted."""
    for name in names:
        kind = TYPES.get(name)
        if kind is not None and issubclass(kind, BaseException):
            with contextlib.suppress(TypeError):
                return kind(str(message))
    return RuntimeError(str(message))
