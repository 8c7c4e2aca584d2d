"""Keeping a fit off the network, and the libraries' own messages off the terminal."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

HERE = ("127.", "localhost", "::1")


def quiet() -> None:
    """Silence progress bars and advice of the libraries for the rest of this process."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import transformers

    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    logging.getLogger("trl").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="(transformers|trl|peft|torch)")


@contextmanager
def offline(attempts: list[str]) -> Iterator[None]:
    """Inside this context, connections and name look-ups fail, and the addresses asked for are added to `attempts`.

    Connections within this machine (loopback, Unix sockets) succeed.
    """

    def refuse(host: Any) -> None:
        name = host.decode() if isinstance(host, bytes) else str(host or "localhost")
        if not name.startswith(HERE):
            attempts.append(name)
            raise OSError(f"no network here: {name}")

    def guarded(connect: Callable[..., Any]) -> Callable[..., Any]:
        def guard(own: Any, address: Any) -> Any:
            if own.family in (socket.AF_INET, socket.AF_INET6):
                refuse(address[0])
            return connect(own, address)

        return guard

    look_up = socket.getaddrinfo

    def guarded_look_up(host: Any, *rest: Any, **named: Any) -> Any:
        refuse(host)
        return look_up(host, *rest, **named)

    with (
        patch.object(socket.socket, "connect", guarded(socket.socket.connect)),
        patch.object(socket.socket, "connect_ex", guarded(socket.socket.connect_ex)),
        patch.object(socket, "getaddrinfo", guarded_look_up),
    ):
        yield
