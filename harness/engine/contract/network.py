"""Refusing and noting whatever would leave this machine, for as long as a method fits or loads."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

HERE = ("127.", "localhost", "::1")


@contextmanager
def offline(attempts: list[str]) -> Iterator[None]:
    """While this lasts, connections and look-ups of names fail; the addresses asked for join `attempts`.

    What stays on this machine (loopback, Unix sockets) goes through.
    """
    connect, connect_ex, look_up = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guard(own: Any, address: Any) -> None:
        if own.family in (socket.AF_INET, socket.AF_INET6):
            _refuse(address[0], attempts)

    def guarded_connect(own: Any, address: Any) -> None:
        guard(own, address)
        connect(own, address)

    def guarded_connect_ex(own: Any, address: Any) -> int:
        guard(own, address)
        return connect_ex(own, address)

    def guarded_look_up(host: Any, *rest: Any, **named: Any) -> Any:
        _refuse(host, attempts)
        return look_up(host, *rest, **named)

    with (
        patch.object(socket.socket, "connect", guarded_connect),
        patch.object(socket.socket, "connect_ex", guarded_connect_ex),
        patch.object(socket, "getaddrinfo", guarded_look_up),
    ):
        yield


def _refuse(host: Any, attempts: list[str]) -> None:
    name = host.decode() if isinstance(host, bytes) else str(host or "localhost")
    if not name.startswith(HERE):
        attempts.append(name)
        raise OSError(f"no network here: {name}")
