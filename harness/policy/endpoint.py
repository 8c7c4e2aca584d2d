"""A policy behind an OpenAI-compatible HTTP endpoint: it samples, and gives no log-probabilities."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import logging
import math
import os
import re
import sys
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import SplitResult, urlsplit

from harness.errors import UserError
from harness.policy.finished import PolicyRequest, watcher
from harness.policy.noise import stream_of
from harness.policy.policy import Policy
from harness.policy.types import Capability, Completion, Prompt, Sampling

if TYPE_CHECKING:
    import openai

SECONDS = 300.0
"""The time limit of one try."""

LONGEST_WAIT = 8.0
"""Seconds between two tries where the server does not say how long."""

LARGEST_REPLY = 16 << 20
PASSING = {408, 409, 425, 429}
"""Refusals that may yet become an answer, with all from 500 on."""


class EndpointPolicy(Policy):
    """Asks `URL/chat/completions` through the openai client, several requests at a time.

    A request that may yet succeed is repeated: 429, 5xx, time-outs, broken connections. Between two tries it waits as
    long as Retry-After says. A reply has at most 16 MB. Messages show neither the key nor what the server says.

    key_variable  the environment variable that holds the key; "" sends none. The key is sent over https or to this
                  machine, and follows no redirect
    seconds       the longest that one request may take with all its tries and waits
    """

    gives: ClassVar[frozenset[Capability]] = frozenset({"sample"})

    def __init__(
        self, url: str, model: str, key_variable: str = "", *, workers: int = 8, tries: int = 8, seconds: float = 1800
    ) -> None:
        self.url, self.model, self.key = checked_address(url, key_variable), model, _key(key_variable)
        self.workers, self.tries, self.seconds = workers, tries, seconds
        if find_spec("openai") is None:
            raise UserError("asking an endpoint needs the package openai", fix="Run `pip install 'bakeoff[endpoint]'`.")

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        """One request per completion, in the order of the prompts. Raises UserError where the endpoint fails."""
        each = sampling.samples
        bodies = [
            _body(self.model, prompt, sampling, f"{key}/{n}")
            for prompt, key in zip(prompts, keys, strict=True)
            for n in range(each)
        ]
        drawn = asyncio.run(self._all(bodies))
        return [tuple(drawn[at * each : (at + 1) * each]) for at in range(len(prompts))]

    async def _all(self, bodies: Sequence[dict[str, Any]]) -> list[Completion]:
        gate, watching = asyncio.Semaphore(self.workers), watcher()
        known = (
            watching.begin(PolicyRequest(len(bodies), "answers", lambda: _digest(self.url, bodies))) if watching else {}
        )

        async def one(client: openai.AsyncOpenAI, at: int) -> Completion:
            if at in known:
                text, finish = known[at]
                return Completion(text, (), finish)
            async with gate:
                drawn = await self._one(client, bodies[at])
            if watching:
                watching.finished([(at, (drawn.text, drawn.finish))])
            return drawn

        async with self._client() as client:
            return await asyncio.gather(*(one(client, at) for at in range(len(bodies))))

    def _client(self) -> openai.AsyncOpenAI:
        import openai

        # their debug records hold what the server says, which may be the key
        for name in ("openai", *HTTP_PACKAGES):
            logging.getLogger(name).setLevel(logging.WARNING)
        # requests to this machine and its network must not go through a proxy of the environment
        no_proxy = dict.fromkeys(("all://", "http://", "https://")) if _is_near(urlsplit(self.url)) else {}
        through = openai.DefaultAsyncHttpxClient(
            mounts=no_proxy, follow_redirects=False, event_hooks={"response": [_refuse_at_once]}
        )
        try:
            return openai.AsyncOpenAI(
                base_url=self.url, api_key=self.key or "none", max_retries=0, timeout=SECONDS, http_client=through
            )
        except Exception as error:
            if not _is_failure_of_transport(error):
                raise
            reason = _said(error, self.key)
        raise self._failure(reason)

    async def _one(self, client: openai.AsyncOpenAI, body: dict[str, Any]) -> Completion:
        end = time.monotonic() + self.seconds
        for attempt in range(self.tries):
            try:
                async with asyncio.timeout(min(SECONDS, end - time.monotonic())):
                    return _completion(await _reply(client, body, bool(self.key)), self.url)
            except TimeoutError:
                reason, wait, passes = f"no answer within {min(SECONDS, self.seconds):g} seconds", None, True
            except Exception as error:
                refused = _cause(error, Refused)
                if refused is None and not _is_failure_of_transport(error):
                    raise
                reason, wait, passes = (refused or Refused(_said(error, self.key))).terms()
            if not passes or attempt == self.tries - 1:
                break
            wait = min(0.5 * 2**attempt, LONGEST_WAIT) if wait is None else wait
            if time.monotonic() + wait >= end:
                within = f"no answer within {self.seconds:g} seconds"
                reason = within if reason == within else f"{within}: {reason}"
                break
            await asyncio.sleep(wait)
        raise self._failure(reason)

    def _failure(self, reason: str) -> UserError:
        fix = "Check the address, the model's name and the key."
        return UserError(f"the endpoint failed: {reason}", where=self.url, fix=fix)


HTTP_PACKAGES = ("httpx", "httpx2", "httpcore", "httpcore2")
"""The packages beneath the openai client, by its version."""


class Refused(Exception):
    """A reply that is not read: its status, or what else is wrong with it."""

    def __init__(self, reason: str, status: int = 0, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.status, self.wait = reason, status, wait

    def terms(self) -> tuple[str, float | None, bool]:
        """The reason, the seconds to wait, and whether another try may succeed."""
        asks = "" if self.wait is None else f"; it asks to wait {self.wait:.0f} seconds"
        return f"{self.reason}{asks}", self.wait, self.status in PASSING or not 0 < self.status < 500


async def _refuse_at_once(response: Any) -> None:
    """A hook of the client. It refuses before the body is read, so that no refusal is large, and none is repeated."""
    status = response.status_code
    if status != 200:
        phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
        more = "; redirects are not followed" if 300 <= status < 400 else ""
        raise Refused(f"HTTP {status} {phrase}".strip() + more, status, _wait_of(response.headers.get("retry-after")))
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    # unlike others, these two grow a chunk to no more than a thousand times its size
    if coding not in ("", "identity", "gzip", "deflate"):
        raise Refused("the reply is compressed, which was not asked for", 400)


def _wait_of(header: str | None) -> float | None:
    """The seconds that Retry-After names, as a number or as a date; None without a sensible one."""
    try:
        seconds = float(header or "nan")
    except ValueError:
        try:
            seconds = parsedate_to_datetime(str(header)).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


async def _reply(client: openai.AsyncOpenAI, body: dict[str, Any], with_key: bool) -> bytes:
    import openai

    # the client reads an OpenAI account from the environment, which this server must not see
    private = ["OpenAI-Organization", "OpenAI-Project", *([] if with_key else ["Authorization"])]
    headers: dict[str, Any] = {**{name: openai.Omit() for name in private}, "Accept-Encoding": "identity"}
    read = bytearray()
    asked = client.chat.completions.with_streaming_response.create(**body, extra_headers=headers)
    async with asked as reply:
        async for chunk in reply.iter_bytes():
            read += chunk
            if len(read) > LARGEST_REPLY:
                raise Refused(f"the reply has more than {LARGEST_REPLY >> 20} MB", 400)
    return bytes(read)


def _cause(error: BaseException | None, kind: type[Refused]) -> Refused | None:
    while error is not None and not isinstance(error, kind):
        error = error.__cause__
    return error


def _is_failure_of_transport(error: Exception) -> bool:
    import openai

    packages = [sys.modules[name] for name in HTTP_PACKAGES if name in sys.modules]
    kinds = tuple(
        getattr(one, name)
        for one in packages
        for name in ("HTTPError", "StreamError", "InvalidURL")
        if hasattr(one, name)
    )
    return isinstance(error, (openai.APIError, OSError, *kinds))


def _said(error: BaseException, key: str) -> str:
    """The deepest cause in one line, without bytes of the server that it quotes: those may be the key."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = re.split(r"[:(\s]*(?:bytearray|\bb['\"])", " ".join(str(error).split()))[0]
    text = text or f"the connection broke off ({type(error).__name__})"
    text = text.replace(key, "(the key)") if key else text
    return "".join(one if one.isprintable() else "?" for one in text)[:200]


def checked_address(url: str, key_variable: str = "", field: str = "--endpoint") -> str:
    """The address without a closing slash. Raises UserError for one that will not do, and shows no secret of it."""
    try:
        parts = urlsplit(url)
        well_formed = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        well_formed = False
    if not well_formed or not url.isprintable() or any(one.isspace() for one in url):
        shown = url.rpartition("@")[2].partition("?")[0].partition("#")[0]
        raise UserError(f"{field} is {shown!r}", fix="Write http(s)://HOST/v1.")
    if "@" in parts.netloc or parts.query or parts.fragment:
        where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        what = f"the address in {field} holds a user, a password or a query, which would be written to files"
        fix = "Leave it out of the address, and put a key into an environment variable."
        raise UserError(what, where=where, fix=fix)
    if key_variable and parts.scheme == "http" and not _is_this_machine(parts):
        raise UserError(f"a key would be sent to {parts.hostname} unencrypted", fix="Use https, or leave out the key.")
    return url.rstrip("/")


def _is_this_machine(parts: SplitResult) -> bool:
    name = (parts.hostname or "").rstrip(".")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _is_near(parts: SplitResult) -> bool:
    try:
        address = ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        return _is_this_machine(parts)
    return address.is_private or address.is_link_local


def _key(variable: str) -> str:
    key = os.environ.get(variable, "").strip() if variable else ""
    # a header can hold nothing else, and the client's own error message would show the key
    if variable and not (key and key.isascii() and key.isprintable()):
        wrong = "holds characters that no key has" if key else "is empty"
        raise UserError(f"the environment variable {variable} {wrong}", fix=f"Set {variable} to the endpoint's key.")
    return key


def _body(model: str, prompt: Prompt, sampling: Sampling, key: str) -> dict[str, Any]:
    if prompt.assistant_prefix:
        raise UserError("an endpoint cannot continue an answer", fix="Leave the assistant prefix out.")
    asked = [{"role": one.role, "content": _sendable(one.content)} for one in prompt.messages]
    body = {
        "model": model,
        "messages": asked or [{"role": "user", "content": _sendable(prompt.text)}],
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": stream_of(sampling.salt, sampling.seed, key) % 2**31,
    }
    return {**body, "stop": list(sampling.stop)} if sampling.stop else body


def _sendable(text: str) -> str:
    """The text with a question mark for half a character (a lone surrogate), which UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _digest(*asked: object) -> str:
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:24]


def _completion(reply: bytes, where: str) -> Completion:
    try:
        choice = json.loads(reply)["choices"][0]
        text, reason = _text(choice["message"]["content"]), choice.get("finish_reason")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        what = "the reply is not a chat completion"
        raise UserError(what, where=where, fix="Name an OpenAI-compatible endpoint, up to /v1.") from None
    return Completion(text, (), "length" if reason == "length" else "stop")


def _text(content: Any) -> str:
    """The text of a string or of text parts; null means an empty answer."""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part["type"] == "text")
    if content is not None and not isinstance(content, str):
        raise TypeError("the content is not a text")
    return content or ""
