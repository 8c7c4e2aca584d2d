"""A stand-in for the part of vLLM's interface that the project uses, answered by `transformers`.

vLLM itself cannot be installed where these tests run, so they show that its interface is used as documented and that
the answers are read rightly; they show nothing about vLLM. Unknown arguments are errors, as they are there.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers


@dataclass
class SamplingParams:
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    max_tokens: int = 16
    stop: list[str] = field(default_factory=list)
    stop_token_ids: list[int] = field(default_factory=list)
    ignore_eos: bool = False
    prompt_logprobs: int | None = None
    detokenize: bool = True


@dataclass
class Logprob:
    logprob: float
    rank: int
    decoded_token: str | None = None


@dataclass
class CompletionOutput:
    token_ids: list[int]
    finish_reason: str
    stop_reason: int | str | None


@dataclass
class RequestOutput:
    outputs: list[CompletionOutput]
    prompt_logprobs: list[dict[int, Logprob] | None] | None


@dataclass
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str


class LLM:
    """The engine; `made` remembers the arguments of every one."""

    made: list[dict[str, Any]]

    def __init__(
        self,
        *,
        model: str,
        tokenizer: str,
        dtype: str,
        max_model_len: int,
        gpu_memory_utilization: float,
        generation_config: str,
        seed: int,
        enable_lora: bool = False,
        max_loras: int = 1,
        max_lora_rank: int = 16,
    ) -> None:
        self.made.append({"model": model, "enable_lora": enable_lora, "max_lora_rank": max_lora_rank})
        assert generation_config == "vllm"
        self.limit, self.lora = max_model_len, enable_lora
        self.model = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype)).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer)

    def generate(
        self,
        prompts: list[dict[str, list[int]]],
        sampling_params: list[SamplingParams],
        *,
        use_tqdm: bool,
        lora_request: LoRARequest | None = None,
    ) -> list[RequestOutput]:
        assert len(prompts) == len(sampling_params)
        if lora_request:
            import peft

            assert self.lora
            self.model = peft.PeftModel.from_pretrained(self.model, lora_request.lora_path).eval()
        try:
            with torch.no_grad():
                return [self._one(p["prompt_token_ids"], s) for p, s in zip(prompts, sampling_params, strict=True)]
        finally:
            if lora_request:
                self.model = self.model.unload()

    def _one(self, prompt: list[int], asked: SamplingParams) -> RequestOutput:
        if len(prompt) + asked.max_tokens > self.limit:
            raise ValueError("the prompt is longer than the maximum model length")
        told = None
        if asked.prompt_logprobs is not None:
            rows = self.model(input_ids=torch.tensor([prompt])).logits[0].float().log_softmax(-1)
            told = [None]
            for at, token in enumerate(prompt[1:]):
                value = rows[at, token]
                told.append({token: Logprob(float(value), int((rows[at] >= value).sum()))})
        ids: list[int] = []
        noise = torch.Generator().manual_seed(asked.seed) if asked.seed is not None else None
        while len(ids) < asked.max_tokens:
            logits = self.model(input_ids=torch.tensor([prompt + ids])).logits[0, -1].float()
            if asked.temperature:
                token = int(torch.multinomial((logits / asked.temperature).softmax(-1), 1, generator=noise))
            else:
                token = int(logits.argmax())
            ids.append(token)
            if token in asked.stop_token_ids:
                return RequestOutput([CompletionOutput(ids, "stop", token)], told)
            text = self.tokenizer.decode(ids, skip_special_tokens=True)
            if found := next((stop for stop in asked.stop if stop in text), None):
                return RequestOutput([CompletionOutput(ids, "stop", found)], told)
        return RequestOutput([CompletionOutput(ids, "length", None)], told)


def install(monkeypatch: pytest.MonkeyPatch) -> type[LLM]:
    """Put the stand-in where `import vllm` finds it."""
    LLM.made = []
    top, lora, request = ModuleType("vllm"), ModuleType("vllm.lora"), ModuleType("vllm.lora.request")
    top.LLM, top.SamplingParams, request.LoRARequest = LLM, SamplingParams, LoRARequest  # type: ignore[attr-defined]
    for module in (top, lora, request):
        module.__spec__ = __spec__
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return LLM
