"""Plain weights, or a LoRA adapter on them, answered by the library vLLM, written against its documented interface.

Prompts are encoded here, so that token ids, their boundary, stop tokens and the cut of an answer are those of every
policy. vLLM draws its own samples: each has a seed of its own, hashed from the sampling's seed and the item's key as
everywhere, yet the draws are other ones than this project's, and in bfloat16 an answer may depend on its batch.
Scores are log-probabilities before temperature, and a token that ties with another is not greedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.errors import UserError
from harness.policy.noise import stream_of
from harness.policy.policy import Policy
from harness.policy.sampling import completion_of
from harness.policy.types import Capability, Completion, NotFinite, Prompt, Sampling, Score

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.encoding import Encoded

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The largest ranks that vLLM can make room for."""
MEMORY = 0.8
"""The share of the GPU that it may take; its default, 0.9, leaves too little for an embedder or a judge."""


def require_vllm() -> None:
    """Raise UserError where vLLM is not installed."""
    if find_spec("vllm") is None:
        raise UserError(
            "a base has backend: vllm, and vllm is not installed",
            fix="Install the extra `vllm` (pip install 'bakeoff[vllm]'), or leave backend out.",
        )


class VllmPolicy(Policy):
    """A model folder, or an adapter on the base, that vLLM scores and samples.

    weights  the model's folder; adapter: the folder of a LoRA adapter on it, with its rank
    """

    gives: ClassVar[frozenset[Capability]] = frozenset({"score", "sample", "text"})

    def __init__(self, base: BaseModel, weights: Path, adapter: Path | None = None, rank: int = 0) -> None:
        require_vllm()
        import vllm

        self.encoder = base.encoder
        room = {"enable_lora": True, "max_loras": 1, "max_lora_rank": next(one for one in RANKS if one >= rank)}
        self.engine = vllm.LLM(
            model=str(weights),
            tokenizer=str(base.folder),  # an artifact has none of its own
            dtype=base.spec.dtype,
            max_model_len=self.encoder.max_length,
            gpu_memory_utilization=MEMORY,
            generation_config="vllm",  # and not the model's own temperature and top-p
            seed=0,
            **(room if adapter else {}),
        )
        self.adapter: Any = None
        if adapter:
            from vllm.lora.request import LoRARequest

            self.adapter = LoRARequest("adapter", 1, str(adapter))

    def score(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[Score]:
        """Score completions[i] after prompts[i]."""
        import vllm

        requests = [self._fitted(p, c) for p, c in zip(prompts, completions, strict=True)]
        # one token must be asked for; none of it is used
        asked = vllm.SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        told = self._generate(
            [(*one.prompt, *one.prefix, *one.completion) for one in requests], [asked] * len(requests)
        )
        return [_score(one, output.prompt_logprobs) for one, output in zip(requests, told, strict=True)]

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        """Draw completions: a request, with its seed, for each of them."""
        import vllm

        requests = [self.encoder.encode(prompt) for prompt in prompts]
        limit = self.encoder.max_length
        fitted = [one.fitted(limit, len(one.prefix) + sampling.max_new_tokens) for one in requests]
        places = [(at, number) for at in range(len(keys)) for number in range(sampling.samples)]
        streams = [stream_of(sampling.salt, sampling.seed, keys[at], number) for at, number in places]
        asked = [vllm.SamplingParams(**self._settings(sampling, stream)) for stream in streams]
        told = self._generate([(*fitted[at].prompt, *fitted[at].prefix) for at, _ in places], asked)
        drawn: list[list[Completion]] = [[] for _ in prompts]
        for (at, _), output in zip(places, told, strict=True):
            ended = self._ended(output.outputs[0], sampling)
            drawn[at].append(completion_of(self.encoder, fitted[at], sampling, *ended))
        return [tuple(completions) for completions in drawn]

    def _generate(self, ids: Sequence[Sequence[int]], asked: Sequence[Any]) -> list[Any]:
        prompts = [{"prompt_token_ids": list(one)} for one in ids]
        return list(self.engine.generate(prompts, list(asked), use_tqdm=False, lora_request=self.adapter))

    def _fitted(self, prompt: Prompt, completion: str) -> Encoded:
        """The request with room for all of its tokens and for the one that vLLM has to generate."""
        request = self.encoder.encode(prompt, completion)
        return request.fitted(self.encoder.max_length, len(request.prefix) + len(request.completion) + 1)

    def _settings(self, sampling: Sampling, stream: int) -> dict[str, Any]:
        settings = {
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_new_tokens,
            "stop": [*sampling.stop, *self.encoder.turn_openers],
            # all that ends an answer is named here, whatever the model's files say
            "ignore_eos": True,
            "stop_token_ids": sorted(self.encoder.stop_ids | self._stop_tokens(sampling)),
        }
        if sampling.temperature == 0:
            return settings
        return {**settings, "top_p": sampling.top_p, "seed": stream % 2**31}

    def _stop_tokens(self, sampling: Sampling) -> frozenset[int]:
        """The special tokens whose texts are among the stop strings: decoding would leave them out."""
        name = self.encoder.tokenizer.convert_ids_to_tokens
        return frozenset(token for token in self.encoder.special_ids if name(token) in sampling.stop)

    def _ended(self, drawn: Any, sampling: Sampling) -> tuple[list[int], str, int | None]:
        """The ids of an answer, how it ended, and the stop token, if there was one."""
        ids = list(drawn.token_ids)
        if drawn.finish_reason == "length":
            return ids, "length", None
        if ids and ids[-1] in self.encoder.stop_ids:
            return ids[:-1], "stop", ids[-1]
        if ids and ids[-1] in self._stop_tokens(sampling):
            ids.pop()
        return ids, "stop_string", None


def _score(request: Encoded, told: Sequence[Any]) -> Score:
    """The score from what vLLM says of each token of prompt, prefix and completion."""
    start = len(request.prompt) + len(request.prefix)
    found = [told[at][token] for at, token in enumerate(request.completion, start)]
    values = tuple(float(one.logprob) for one in found)
    if any(value != value for value in values):
        raise NotFinite
    return Score(
        logprob=sum(values),
        tokens=len(values),
        is_greedy=all(one.rank == 1 for one in found),
        token_logprobs=values,
        truncated=request.truncated,
    )
