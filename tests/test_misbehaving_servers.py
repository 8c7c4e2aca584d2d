"""Servers on this machine that misbehave: each gives one clear line or the right answer, within the deadline."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import re
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.policy.endpoint import EndpointPolicy
from harness.policy.types import Prompt, Sampling
from harness.records import Message

KEY = "sk-very-secret-0123456789"
SECONDS = 1.5
ASKED = [Prompt(messages=(Message("user", "q"),))]


def chat(content: Any, **more: Any) -> bytes:
    return json.dumps({"choices": [{"message": {"content": content, **more}, "finish_reason": "stop"}]}).encode()


def reply(body: bytes, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + body


def chunked(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", *headers, "", ""]
    return "\r\n".join(lines).encode() + f"{len(body):x}\r\n".encode() + body + b"\r\n"


def drip(connection: socket.socket, number: int) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        connection.sendall(b" ")
        time.sleep(0.05)


def drip_headers(connection: socket.socket, number: int) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for at in range(1000):
        connection.sendall(f"X-{at}: y\r\n".encode())
        time.sleep(0.05)


def flood(connection: socket.socket, number: int) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * (1 << 20))


def flood_a_refusal(connection: socket.socket, number: int) -> None:
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    while True:
        connection.sendall(b"x" * (1 << 20))


def hang(connection: socket.socket, number: int) -> None:
    time.sleep(2 * SECONDS)


def reset(connection: socket.socket, number: int) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def then_fine(first: bytes) -> Callable[[int], bytes]:
    return lambda number: first if number == 0 else reply(chat("fine"))


def after(header: str) -> Callable[[int], bytes]:
    return then_fine(reply(b"", "429 Too Many Requests", f"Retry-After: {header}"))


SOON = formatdate(time.time() - 5, usegmt=True)
LATE = formatdate(time.time() + 86_400, usegmt=True)
BOMB = gzip.compress(bytes(64 << 20))

SERVERS: dict[str, tuple[Any, str]] = {
    # what the server does, and the answer, or after "!" what the message says
    "hangs": (hang, "!no answer within 1.5 seconds"),
    "drips its body": (drip, "!no answer within 1.5 seconds"),
    "drips its headers": (drip_headers, "!no answer within 1.5 seconds"),
    "resets the connection": (reset, "!the connection broke off"),
    "closes without a word": (b"", "!disconnected without sending a response"),
    "closes amid its headers": (b"HTTP/1.1 200 OK\r\nContent-Le", "!the endpoint failed"),
    "speaks another protocol": (b"SSH-2.0-OpenSSH_9.6 " + KEY.encode() + b"\r\n\r\n", "!illegal status line\n"),
    "says a page in HTML": (
        reply(b"<html>" + KEY.encode(), "200 OK", "Content-Type: text/html"),
        "!not a chat completion",
    ),
    "says broken JSON": (reply(b'{"choices": [{"mess'), "!not a chat completion"),
    "says nothing": (reply(b""), "!not a chat completion"),
    "says deep JSON": (reply(b"[" * 1_000_000), "!not a chat completion"),
    "says other bytes than UTF-8": (reply(chat("x").replace(b"x", b"\xff")), "!not a chat completion"),
    "says an error with 200": (reply(b'{"error": {"message": "%s"}}' % KEY.encode()), "!not a chat completion"),
    "gives no choice": (reply(b'{"choices": []}'), "!not a chat completion"),
    "gives null": (reply(chat(None)), ""),
    "gives a number": (reply(chat(4)), "!not a chat completion"),
    "gives an object": (reply(chat({"text": "x"})), "!not a chat completion"),
    "gives parts": (reply(chat([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])), "ab"),
    "gives half a character": (reply(chat("\ud800x")), "\ud800x"),
    "says a length too large": (reply(chat("x"), length=10_000), "!the endpoint failed"),
    "says a length too small": (reply(chat("x"), length=20), "!not a chat completion"),
    "says a length that is none": (reply(chat("x"), "200 OK", "Content-Length: many"), "!the endpoint failed"),
    "cuts its chunks off": (chunked(chat("x"))[:-20], "!the endpoint failed"),
    "never stops": (flood, "!more than 16 MB"),
    "never stops a refusal": (flood_a_refusal, "!HTTP 400 Bad Request"),
    "sends a gzip bomb": (reply(BOMB, "200 OK", "Content-Encoding: gzip"), "!more than 16 MB"),
    "sends gzip that is none": (reply(b"abc", "200 OK", "Content-Encoding: gzip"), "!the endpoint failed"),
    "compresses unasked": (reply(gzip.compress(chat("x")), "200 OK", "Content-Encoding: gzip"), "x"),
    "compresses strangely": (reply(b"x", "200 OK", "Content-Encoding: zstd"), "!compressed"),
    "refuses and echoes the key": (
        reply(KEY.encode(), f"401 {KEY}", f"X-Echo: {KEY}", f"WWW-Authenticate: {KEY}"),
        "!HTTP 401 Unauthorized",
    ),
    "asks for a proxy's password": (reply(b"", "407 x"), "!HTTP 407 Proxy Authentication Required"),
    "redirects to another host": (
        reply(b"", "307 x", "Location: http://127.0.0.2:OTHER/v1"),
        "!redirects are not followed",
    ),
    "redirects to itself": (reply(b"", "308 x", "Location: /v1/chat/completions"), "!redirects are not followed"),
    "has a status of its own": (reply(b"", "799 x"), "!HTTP 799"),
    "is busy, then fine": (then_fine(reply(b"", "503 x")), "fine"),
    "breaks off, then fine": (then_fine(b""), "fine"),
    "asks to wait a moment": (after("0.2"), "fine"),
    "asks to wait until a date that is past": (after(SOON), "fine"),
    "asks to wait a day": (after("86400"), "!it asks to wait 86400 seconds"),
    "asks to wait until tomorrow": (after(LATE), "!no answer within 1.5 seconds: HTTP 429 Too Many Requests"),
    "asks to wait for nonsense": (after("soon"), "fine"),
    "asks to wait for ever": (after("inf"), "fine"),
    "asks to wait for a negative time": (after("-5"), "fine"),
}


class Misbehaving:
    """A server that reads one request from each connection and then does what it is told."""

    def __init__(self, deed: Any) -> None:
        self.deed, self.requests = deed, list[bytes]()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            read = connection.recv(1 << 16)
            while not _is_whole(read):
                read += connection.recv(1 << 16)
            self.requests.append(read)
            deed = self.deed if isinstance(self.deed, bytes) else None
            if deed is None and self.deed.__code__.co_argcount == 2:
                self.deed(connection, len(self.requests) - 1)
            else:
                connection.sendall(deed if deed is not None else self.deed(len(self.requests) - 1))


def _is_whole(read: bytes) -> bool:
    head, gap, body = read.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.I)
    return bool(gap) and len(body) >= int(length[1] if length else 0)


def what_it_says(policy: EndpointPolicy) -> str:
    """The answer, or the message after "!"."""
    try:
        ((drawn,),) = policy.sample(ASKED, Sampling(5), ["k"])
    except UserError as error:
        shown = "".join(traceback.format_exception(error))
        return "!more than a line" if "\n" in error.what or len(error.what) > 300 or KEY in shown else f"!{error}"
    return drawn.text


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """The first import takes seconds, which are not the server's."""
    import openai  # noqa: F401


@pytest.fixture
def other() -> Iterator[socket.socket]:
    """A second host, which must not be asked."""
    with socket.create_server(("127.0.0.2", 0)) as listening:
        listening.setblocking(False)
        yield listening


@pytest.mark.parametrize("name", SERVERS)
def test_one_line_or_the_right_answer_within_the_deadline(
    name: str,
    other: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    deed, expected = SERVERS[name]
    if isinstance(deed, bytes):
        deed = deed.replace(b"OTHER", str(other.getsockname()[1]).encode())
    server = Misbehaving(deed)
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("SOME_KEY", KEY)
    start = time.monotonic()
    policy = EndpointPolicy(f"http://127.0.0.1:{server.port}/v1", "m", "SOME_KEY", tries=2, seconds=SECONDS)
    said = what_it_says(policy)
    server.listening.close()
    # reading 16 MB takes its time on a busy machine, and the deadline ends it
    assert time.monotonic() - start < SECONDS + 3
    assert said == expected or (expected[:1] == "!" and expected[1:] in said), said
    assert KEY not in said + caplog.text + "".join(capfd.readouterr())
    assert all(f"Bearer {KEY}".encode() in request for request in server.requests)
    with pytest.raises(BlockingIOError):
        other.accept()


def test_a_server_that_is_not_there_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(UserError, match=r"the endpoint failed: .*(refused|attempts failed)"):
        EndpointPolicy(f"http://127.0.0.1:{port}/v1", "m", tries=1).sample(ASKED, Sampling(5), ["k"])


@pytest.mark.parametrize("host", ["a..b", "-", "256.256.256.256", "nothing.invalid", "xn--", "[::1%25x]"])
def test_a_host_that_cannot_be_is_said(host: str) -> None:
    with pytest.raises(UserError):
        EndpointPolicy(f"http://{host}:9/v1", "m", tries=1, seconds=5).sample(ASKED, Sampling(5), ["k"])


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{KEY}@host.example/v1",
        f"https://{KEY}@host.example/v1",
        f"https://host.example/v1?api_key={KEY}",
        f"https://host.example/v1#{KEY}",
        f"user:{KEY}@host.example/v1",
        f"ftp://user:{KEY}@host.example/v1",
        f"http://user:{KEY}@host.example:99999/v1",
        f"http://user:{KEY}@[::1/v1",
        f"http://user:{KEY}@host.example/a b?{KEY}",
    ],
)
def test_a_secret_in_an_address_is_refused_without_being_shown(url: str, tmp_path: Path) -> None:
    from harness.engine.config import load_experiment

    with pytest.raises(UserError) as caught:
        EndpointPolicy(url, "m")
    assert KEY not in str(caught.value)
    file = tmp_path / "experiment.yaml"
    judge = json.dumps({"pairwise_judge": {"judge_url": url, "judge_model": "m"}})
    file.write_text(f"name: n\nbases: [microworld/small]\nmethods: [base]\nbenchmarks: [{judge}]\n")
    with pytest.raises(UserError, match="judge_url") as caught:
        load_experiment(file)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.5.5.5", "localhost", "a.localhost", "10.1.2.3", "192.168.0.7", "[::1]"]
)
def test_no_proxy_is_asked_for_a_host_nearby(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    proxy = Misbehaving(reply(chat("from the proxy")))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    with contextlib.suppress(UserError):
        EndpointPolicy(f"http://{host}:9/v1", "m", tries=1, seconds=0.5).sample(ASKED, Sampling(5), ["k"])
    assert proxy.requests == []
    ((drawn,),) = EndpointPolicy("http://far.example/v1", "m", tries=1, seconds=5).sample(ASKED, Sampling(5), ["k"])
    assert drawn.text == "from the proxy"
    proxy.listening.close()
