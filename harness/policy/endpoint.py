"""A policy behind an OpenAI-compatible HTTP endpoint: it samples, and gives no log-probabilities."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from harness.errors import UserError
from harness.policy.noise import stream_of
from harness.policy.policy import Policy
from harness.policy.types import Capability, Completion, Prompt, Sampling

if TYPE_CHECKING:
    import openai

LOCAL = {"localhost", "127.0.0.1", "::1"}
SECONDS = 300.0
"""The time limit of one try."""


class EndpointPolicy(Policy):
    """Asks `URL/chat/completions` through the openai client, several requests at a time.

    The client repeats a request that may yet succeed (429, 5xx, time-outs), and waits as long as Retry-After says.

    key_variable  the environment variable that holds the key; "" sends none. The key is sent over https or to this
                  machine, and follows no redirect
    seconds       the longest that one request may take with all its tries
    """

    gives: ClassVar[frozenset[Capability]] = frozenset({"sample"})

    def __init__(
        self, url: str, model: str, key_variable: str = "", *, workers: int = 8, tries: int = 8, seconds: float = 1800
    ) -> None:
        self.url, self.model, self.key = _checked(url, key_variable), model, _key(key_variable)
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
        import openai

        # requests to this machine must not go through a proxy of the environment
        through = openai.DefaultAsyncHttpxClient(
            trust_env=urlsplit(self.url).hostname not in LOCAL, follow_redirects=False
        )
        client = openai.AsyncOpenAI(
            base_url=self.url,
            api_key=self.key or "none",
            max_retries=self.tries - 1,
            timeout=SECONDS,
            http_client=through,
        )
        gate = asyncio.Semaphore(self.workers)

        async def one(body: dict[str, Any]) -> Completion:
            async with gate:
                return await self._one(client, body)

        async with client:
            return await asyncio.gather(*map(one, bodies))

    async def _one(self, client: openai.AsyncOpenAI, body: dict[str, Any]) -> Completion:
        import openai

        # the client reads an OpenAI account from the environment, which this server must not see
        private = ["OpenAI-Organization", "OpenAI-Project", *([] if self.key else ["Authorization"])]
        headers: dict[str, Any] = {name: openai.Omit() for name in private}
        try:
            async with asyncio.timeout(self.seconds):
                reply = await client.chat.completions.with_raw_response.create(**body, extra_headers=headers)
        except TimeoutError:
            reason = f"no answer within {self.seconds:g} seconds"
        except openai.APIStatusError as error:
            reason = f"HTTP {error.status_code} {error.response.reason_phrase}"
        except openai.APIError as error:
            reason = str(error.__cause__ or "") or str(error)
        else:
            return _completion(reply.content, self.url)
        raise UserError(
            f"the endpoint failed: {reason}", where=self.url, fix="Check the address, the model's name and the key."
        )


def _checked(url: str, key_variable: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"--endpoint is {url!r}", fix="Write http(s)://HOST/v1.")
    if key_variable and parts.scheme == "http" and parts.hostname not in LOCAL:
        raise UserError(f"a key would be sent to {parts.hostname} unencrypted", fix="Use https, or leave out the key.")
    return url.rstrip("/")


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


def _completion(reply: bytes, where: str) -> Completion:
    try:
        choice = json.loads(reply)["choices"][0]
        text, reason = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            "the reply is not a chat completion", where=where, fix="Name an OpenAI-compatible endpoint, up to /v1."
        ) from error
    # null means an empty answer
    return Completion(str(text or ""), (), "length" if reason == "length" else "stop")
