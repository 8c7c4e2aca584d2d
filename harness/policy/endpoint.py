"""A policy behind an OpenAI-compatible HTTP endpoint: it samples, and gives no log-probabilities."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar
from urllib.parse import urlsplit

from harness.errors import UserError
from harness.policy.noise import stream_of
from harness.policy.policy import Policy
from harness.policy.types import Capability, Completion, Prompt, Sampling

LOCAL = {"localhost", "127.0.0.1", "::1"}
MAX_REPLY = 16 * 2**20
PASSING = {408, 409, 429, 500, 502, 503, 504}


class EndpointPolicy(Policy):
    """Asks `URL/chat/completions`, several requests at a time; what passes (429, 5xx, time-outs) is tried again.

    key_variable  the environment variable that holds the key; "" sends none. It is sent over https, or to this
                  machine, and never follows a redirect
    """

    gives: ClassVar[frozenset[Capability]] = frozenset({"sample"})

    def __init__(
        self, url: str, model: str, key_variable: str = "", *, workers: int = 8, tries: int = 6, wait: float = 2.0
    ) -> None:
        self.url, self.model = f"{_checked(url, key_variable).rstrip('/')}/chat/completions", model
        self.key = _key(key_variable)
        self.workers, self.tries, self.wait = workers, tries, wait
        self._opener = urllib.request.build_opener(_NoRedirect())

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        """One request per completion, in the order of the prompts. Raises UserError where the endpoint fails."""
        asked = [
            (prompt, f"{key}/{n}") for prompt, key in zip(prompts, keys, strict=True) for n in range(sampling.samples)
        ]
        with ThreadPoolExecutor(self.workers) as workers:
            drawn = list(workers.map(lambda pair: self._one(pair[0], sampling, pair[1]), asked))
        each = sampling.samples
        return [tuple(drawn[at * each : (at + 1) * each]) for at in range(len(prompts))]

    def _one(self, prompt: Prompt, sampling: Sampling, key: str) -> Completion:
        body = json.dumps(_body(self.model, prompt, sampling, key)).encode()
        for attempt in range(1, self.tries + 1):
            try:
                return _completion(self._post(body), self.url)
            except urllib.error.HTTPError as error:
                if error.code not in PASSING or attempt == self.tries:
                    raise self._failed(f"HTTP {error.code} {error.reason}") from error
            except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
                if attempt == self.tries:
                    raise self._failed(str(getattr(error, "reason", error))) from error
            time.sleep(self.wait * 2 ** (attempt - 1))
        raise AssertionError("every attempt returns or raises")

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(self.url, body, headers, method="POST")
        with self._opener.open(request, timeout=300) as reply:
            read: bytes = reply.read(MAX_REPLY + 1)
        return read

    def _failed(self, reason: str) -> UserError:
        return UserError(
            f"the endpoint failed: {reason}", where=self.url, fix="Check the address, the model's name and the key."
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The key belongs to the host that the user named, and to no other."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _checked(url: str, key_variable: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"--endpoint is {url!r}", fix="Write http(s)://HOST/v1.")
    if key_variable and parts.scheme == "http" and parts.hostname not in LOCAL:
        raise UserError(f"a key would travel to {parts.hostname} unencrypted", fix="Use https, or leave out the key.")
    return url


def _key(variable: str) -> str:
    if variable and not os.environ.get(variable):
        raise UserError(f"the environment variable {variable} is empty", fix=f"Set {variable} to the endpoint's key.")
    return os.environ[variable].strip() if variable else ""


def _body(model: str, prompt: Prompt, sampling: Sampling, key: str) -> dict[str, Any]:
    if prompt.assistant_prefix:
        raise UserError("an endpoint takes no beginning of an answer", fix="Leave the assistant prefix out.")
    asked = [{"role": one.role, "content": one.content} for one in prompt.messages]
    body = {
        "model": model,
        "messages": asked or [{"role": "user", "content": prompt.text}],
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": stream_of(sampling.salt, sampling.seed, key) % 2**31,
    }
    return {**body, "stop": list(sampling.stop)} if sampling.stop else body


def _completion(reply: bytes, where: str) -> Completion:
    try:
        choice = json.loads(reply)["choices"][0]
        text, reason = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            "the reply is no chat completion", where=where, fix="Name an OpenAI-compatible endpoint, up to /v1."
        ) from error
    # null stands for an empty answer
    return Completion(str(text or ""), (), "length" if reason == "length" else "stop")
