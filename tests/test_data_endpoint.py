"""The endpoint policy against a server in this process: what it sends, what it tries again, what it refuses."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from harness.errors import UserError
from harness.policy.endpoint import EndpointPolicy
from harness.policy.types import Prompt, Sampling
from harness.records import Message

ASK = [Prompt(messages=(Message("system", "s"), Message("user", f"q{n}"))) for n in range(20)]
KEYS = [str(n) for n in range(20)]


class Server(ThreadingHTTPServer):
    """Answers as `reply` says: status and body of the n-th request with this body."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.reply: Any = lambda asked, attempt: (200, completion(f"a {asked['messages'][-1]['content']}"))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        attempt = sum(one[2] == asked for one in server.seen) + 1
        server.seen.append((self.path, {name.title(): value for name, value in self.headers.items()}, asked))
        status, body = server.reply(asked, attempt)
        self.send_response(status)
        if status == 307:
            self.send_header("Location", f"{server.url}/elsewhere")
        if status == 429:
            self.send_header("Retry-After", "0.05")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: Any) -> None:
        pass


def completion(text: object, reason: str = "stop") -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}, "finish_reason": reason}]}).encode()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_answers_come_in_the_order_of_the_prompts_with_a_seed_each(server: Server) -> None:
    policy = EndpointPolicy(server.url, "some-model")
    drawn = policy.sample(ASK, Sampling(7, 0.5, stop=("x",), samples=2, seed=1), KEYS)
    assert [[one.text for one in each] for each in drawn] == [[f"a q{n}"] * 2 for n in range(20)]
    path, headers, asked = server.seen[0]
    assert path == "/v1/chat/completions"
    assert "Authorization" not in headers
    assert asked["messages"][0] == {"role": "system", "content": "s"}
    assert (asked["model"], asked["max_tokens"], asked["temperature"], asked["stop"]) == ("some-model", 7, 0.5, ["x"])
    seeds = sorted(one[2]["seed"] for one in server.seen)
    assert len(set(seeds)) == 40
    policy.sample(ASK, Sampling(7, 0.5, stop=("x",), samples=2, seed=1), KEYS)
    assert sorted(one[2]["seed"] for one in server.seen[40:]) == seeds


def test_the_key_comes_from_the_environment_and_is_never_said(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "very-secret")
    server.reply = lambda asked, attempt: (401, b"who?")
    with pytest.raises(UserError) as caught:
        EndpointPolicy(server.url, "m", "SOME_KEY").sample(ASK[:1], Sampling(1), KEYS[:1])
    assert server.seen[0][1]["Authorization"] == "Bearer very-secret"
    assert "HTTP 401" in str(caught.value)
    assert "very-secret" not in str(caught.value)


def test_what_the_environment_says_of_another_account_is_not_sent(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "private")
    EndpointPolicy(server.url, "m").sample(ASK[:1], Sampling(1), KEYS[:1])
    assert not any("private" in value for value in server.seen[0][1].values())


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    (drawn,) = EndpointPolicy(server.url, "m", tries=1).sample(ASK[:1], Sampling(1), KEYS[:1])
    assert drawn[0].text == "a q0"


def test_one_request_has_a_deadline_with_all_its_tries(server: Server) -> None:
    def late(asked: Any, attempt: int) -> tuple[int, bytes]:
        time.sleep(0.3)
        return 503, b""

    server.reply = late
    with pytest.raises(UserError, match=r"no answer within 0\.5 seconds"):
        EndpointPolicy(server.url, "m", seconds=0.5).sample(ASK[:1], Sampling(1), KEYS[:1])


def test_without_the_client_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(UserError, match=r"pip install 'bakeoff\[endpoint\]'"):
        EndpointPolicy("http://127.0.0.1:9/v1", "m")


def test_a_redirect_is_not_followed_so_that_the_key_stays_with_its_host(server: Server) -> None:
    server.reply = lambda asked, attempt: (307, b"")
    with pytest.raises(UserError, match="HTTP 307"):
        EndpointPolicy(server.url, "m").sample(ASK[:1], Sampling(1), KEYS[:1])
    assert len(server.seen) == 1


def test_what_passes_is_tried_again_and_what_does_not_is_said(server: Server) -> None:
    server.reply = lambda asked, attempt: (503, b"") if attempt < 3 else (200, completion("late"))
    (drawn,) = EndpointPolicy(server.url, "m").sample(ASK[:1], Sampling(1), KEYS[:1])
    assert drawn[0].text == "late"
    server.reply = lambda asked, attempt: (429, b"")
    with pytest.raises(UserError, match="HTTP 429"):
        EndpointPolicy(server.url, "m", tries=2).sample(ASK[:1], Sampling(1), KEYS[:1])
    with pytest.raises(UserError, match="the endpoint failed"):
        EndpointPolicy("http://127.0.0.1:9/v1", "m", tries=1).sample(ASK[:1], Sampling(1), KEYS[:1])


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'{"choices": []}', b'{"choices": [{"message": null}]}', b"\xff"])
def test_a_reply_that_is_none_is_a_users_error(server: Server, body: bytes) -> None:
    server.reply = lambda asked, attempt: (200, body)
    with pytest.raises(UserError, match="not a chat completion"):
        EndpointPolicy(server.url, "m").sample(ASK[:1], Sampling(1), KEYS[:1])


def test_an_answer_that_was_cut_or_is_null_says_so(server: Server) -> None:
    server.reply = lambda asked, attempt: (200, completion(None, "length"))
    ((drawn,),) = EndpointPolicy(server.url, "m").sample(ASK[:1], Sampling(1), KEYS[:1])
    assert (drawn.text, drawn.finish) == ("", "length")


def test_addresses_and_keys_that_will_not_do_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "k")
    monkeypatch.setenv("BROKEN_KEY", "very\nsecret")
    for url, variable, said in (
        ("file:///etc/passwd", "", "--endpoint is"),
        ("host/v1", "", "--endpoint is"),
        ("http://far.example/v1", "SOME_KEY", "unencrypted"),
        ("https://far.example/v1", "NO_SUCH_KEY", "NO_SUCH_KEY is empty"),
        ("https://far.example/v1", "BROKEN_KEY", "BROKEN_KEY holds characters"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            EndpointPolicy(url, "m", variable)
        assert "secret" not in str(caught.value)
