"""The checks of the GPU kit: each fits, scores or decodes with a model of random weights and returns its figures.

Random weights say nothing about quality. They cost as much time and memory as trained ones.
"""

from __future__ import annotations

import gc
import hashlib
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers

from harness.method import FitContext, FitReport, Input, Method
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.causal import CausalPolicy
from harness.policy.sources import base_model_of
from harness.policy.types import Prompt, Sampling
from harness.records import Demonstration, Message, PreferencePair, Problem, TrainingData
from harness.training.labelled_rows import training_rows
from harness.training.loop import collate
from methods.base import Base
from methods.dpo import Dpo
from methods.grpo import Grpo
from methods.lora import Lora
from methods.loreft import Loreft
from methods.proxy_tuning import ProxyPolicy
from methods.sft import Sft

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 128, "vocab_size": 4096, "max_position_embeddings": 1024,
    },
    "qwen2.5-0.5b": {
        "hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
        "intermediate_size": 4864, "vocab_size": 151936, "max_position_embeddings": 4096,
    },
    "qwen2.5-1.5b": {
        "hidden_size": 1536, "num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads": 2,
        "intermediate_size": 8960, "vocab_size": 151936, "max_position_embeddings": 4096,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Size:
    """How much work a check does: tokens of a row, rows per update, updates, prompts, and tokens per answer."""

    row: int = 300
    batch: int = 8
    updates: int = 8
    prompts: int = 16
    answer: int = 64


@dataclass
class Rig:
    """What all checks share: two bases of random weights, the sizes, and a folder for artifacts."""

    base: BaseModel
    small: BaseModel
    size: Size
    folder: Path
    fitted: dict[str, tuple[Method, Path]] = field(default_factory=dict)

    @property
    def on_gpu(self) -> bool:
        return self.base.spec.device.startswith("cuda")


def made(shape: str, folder: Path, device: str, dtype: Any, seed: int = 0) -> BaseModel:
    """A base of this shape with random weights, written as a model folder with the microworld's tokenizer.

    It is a Llama, which is Qwen2.5 without the biases of queries, keys and values: `transformers` gives a folder of
    that family its own tokenizer, whatever the folder has.
    """
    tokenizer = base_model_of("microworld/small").tokenizer
    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = transformers.LlamaConfig(**SHAPES[shape], **ends, tie_word_embeddings=True)
    torch.manual_seed(seed)
    with torch.device(device):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    del model
    free()
    return BaseModel(BaseSpec(str(folder), dtype=dtype, device=device, called=shape), folder)


def free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def text_of(base: BaseModel, tokens: int, chance: random.Random) -> str:
    """A text of about so many tokens: random words of the tokenizer."""
    words = sorted(word for word in base.tokenizer.get_vocab() if word.strip("Ġ▁").isalpha())
    return " ".join(chance.choice(words).strip("Ġ▁") for _ in range(max(1, tokens)))


def data_of(rig: Rig) -> TrainingData:
    """Rows of every kind, enough for all updates."""
    chance, size = random.Random(0), rig.size
    count = size.batch * size.updates

    def text(tokens: int) -> str:
        return text_of(rig.base, tokens, chance)

    asked = [(Message("user", text(size.row // 3)),) for _ in range(count)]
    said = [text(2 * size.row // 3) for _ in asked]
    return TrainingData(
        demonstrations=tuple(
            Demonstration((*one, Message("assistant", answer)), f"d{at}")
            for at, (one, answer) in enumerate(zip(asked, said, strict=True))
        ),
        preferences=tuple(
            PreferencePair(one, answer, text(size.row // 2), f"p{at}")
            for at, (one, answer) in enumerate(zip(asked, said, strict=True))
        ),
        problems=tuple(
            Problem(one, answer[:1], "contains", f"q{at}")
            for at, (one, answer) in enumerate(zip(asked, said, strict=True))
        ),
    )


@contextmanager
def measured(rig: Rig) -> Iterator[dict[str, float]]:
    """Seconds of the block, and its peak memory in GB where there is a GPU."""
    free()
    if rig.on_gpu:
        torch.cuda.reset_peak_memory_stats()
    found: dict[str, float] = {}
    started = time.perf_counter()
    yield found
    if rig.on_gpu:
        torch.cuda.synchronize()
        found["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
    found["seconds"] = time.perf_counter() - started


def fit(rig: Rig, name: str, method: Method, needs_start: bool = False) -> dict[str, Any]:
    """Fit a method: tokens per second from the end of the first update on, peak memory, and the losses."""
    moments: list[float] = []
    context = FitContext(0, rig.size.batch, lambda done, total, note: moments.append(time.perf_counter()))
    out = rig.folder / name
    out.mkdir(parents=True, exist_ok=True)
    inputs = (
        {"start": Input(out, rig.base, lambda: CausalPolicy(rig.base.load(), rig.base.encoder))} if needs_start else {}
    )
    with measured(rig) as found:
        report: FitReport = method.fit(rig.base, data_of(rig), inputs, out, context)
    rig.fitted[name] = method, out
    steps, seconds = len(moments), moments[-1] - moments[0] if len(moments) > 1 else 0.0
    tokens = report.training_tokens * (steps - 1) / steps if steps else 0.0
    rate = {"tokens_per_second": tokens / seconds} if seconds and tokens else {}
    return {
        **found,
        **rate,
        "updates": steps,
        "training_tokens": report.training_tokens,
        "loss": report.notes.get("loss"),
    }


def sft(rig: Rig) -> dict[str, Any]:
    return fit(rig, "sft", Sft(**settings(rig)))


def lora(rig: Rig) -> dict[str, Any]:
    return fit(rig, "lora", Lora(**settings(rig)))


def loreft(rig: Rig) -> dict[str, Any]:
    own = settings(rig) | {"epochs": 1}
    return fit(rig, "loreft", Loreft(**own))


def dpo(rig: Rig) -> dict[str, Any]:
    return fit(rig, "dpo", Dpo(start=Base(), **settings(rig)), needs_start=True)


def grpo(rig: Rig) -> dict[str, Any]:
    own = settings(rig) | {"batch_size": max(1, rig.size.batch // 4), "updates": 2}
    method = Grpo(start=Base(), samples=4, max_new_tokens=max(4, rig.size.answer // 2), **own)
    return fit(rig, "grpo", method, needs_start=True)


def settings(rig: Rig) -> dict[str, Any]:
    return {"learning_rate": 1e-4, "epochs": 1, "batch_size": rig.size.batch, "warmup_ratio": 0.0}


def bare_training(rig: Rig) -> dict[str, Any]:
    """The same rows and optimiser by hand: the library's own loss under autocast, float32 weights."""
    rows = training_rows(data_of(rig).demonstrations, rig.base.encoder).rows
    device = rig.base.spec.device
    with measured(rig) as found:
        model = rig.base.load().float().train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0)
        tokens, started = 0, 0.0
        for first in range(0, len(rows), rig.size.batch):
            batch = rows[first : first + rig.size.batch]
            given = {name: part.to(device) for name, part in collate([vars(row) for row in batch]).items()}
            with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=rig.base.spec.dtype == "bfloat16"):
                loss = model(**given, use_cache=False).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            loss.item()  # waits for the GPU, as the trainer's check of the loss does
            tokens += sum(len(row.input_ids) for row in batch) if started else 0
            started = started or time.perf_counter()
        rate = tokens / (time.perf_counter() - started)
        del model, optimizer
    return {**found, "tokens_per_second": rate}


def prompts_of(rig: Rig) -> list[Prompt]:
    chance = random.Random(1)
    return [
        Prompt(messages=(Message("user", text_of(rig.base, rig.size.row // 3, chance)),))
        for _ in range(rig.size.prompts)
    ]


def decoding(rig: Rig) -> dict[str, Any]:
    """Tokens drawn per second by `sample` and by `generate` at equal batch and length, three rounds in turn."""
    policy, prompts, size = rig.base.policy(), prompts_of(rig), rig.size
    keys = [str(at) for at in range(len(prompts))]
    policy.encoder.__dict__["stop_ids"] = frozenset()  # every answer has the full length, as with `generate`
    asked = [policy.encode(prompt).prompt for prompt in prompts]
    width = max(map(len, asked))
    ids = torch.tensor([[0] * (width - len(one)) + list(one) for one in asked], device=policy.device)
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in asked], device=policy.device)
    length = {"max_new_tokens": size.answer, "min_new_tokens": size.answer, "pad_token_id": 0}

    def own(temperature: float) -> int:
        drawn = policy.sample(prompts, Sampling(size.answer, temperature), keys)
        return sum(len(one[0].drawn_ids) for one in drawn)

    def bare(temperature: float) -> int:
        how = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
        with torch.inference_mode():
            return int(policy.model.generate(input_ids=ids, attention_mask=mask, **how, **length)[:, width:].numel())

    figures: dict[str, Any] = {}
    try:
        with measured(rig) as found:
            for name, temperature in (("greedy", 0.0), ("sampled", 1.0)):
                ours, theirs = _in_turn(rig, partial(own, temperature), partial(bare, temperature))
                figures |= {f"{name}_tokens_per_second": ours, f"{name}_bare_tokens_per_second": theirs}
    finally:
        del policy.encoder.__dict__["stop_ids"]
    return {**found, **figures}


def _in_turn(rig: Rig, own: Callable[[], int], bare: Callable[[], int]) -> tuple[float, float]:
    """Medians of tokens per second, after one round that is not counted."""
    rates: tuple[list[float], list[float]] = ([], [])
    for number in range(4):
        for into, do in zip(rates, (own, bare), strict=True):
            if rig.on_gpu:
                torch.cuda.synchronize()
            started = time.perf_counter()
            tokens = do()
            if rig.on_gpu:
                torch.cuda.synchronize()
            if number:
                into.append(tokens / (time.perf_counter() - started))
    return statistics.median(rates[0]), statistics.median(rates[1])


def scoring(rig: Rig) -> dict[str, Any]:
    """Four choices after each prompt: tokens read per second, the largest difference from a plain forward pass."""
    policy, chance = rig.base.policy(), random.Random(2)
    prompts = [prompt for prompt in prompts_of(rig) for _ in range(4)]
    answers = [text_of(rig.base, 8, chance) for _ in prompts]
    requests = [policy.encode(*pair) for pair in zip(prompts, answers, strict=True)]
    scored: list[Any] = []

    def own() -> int:
        scored[:] = policy.score(prompts, answers)
        return len(prompts)

    plain: list[float] = []

    def bare() -> int:
        plain.clear()
        for one in requests:
            ids = torch.tensor([[*one.prompt, *one.prefix, *one.completion]], device=policy.device)
            start = len(one.prompt) + len(one.prefix)
            with torch.inference_mode():
                logits = policy.model(input_ids=ids).logits[0, start - 1 : -1].float().log_softmax(-1)
            plain.append(float(logits.gather(-1, ids[0, start:, None]).sum()))
        return len(prompts)

    with measured(rig) as found:
        ours, theirs = _in_turn(rig, own, bare)
    apart = max(abs(one.logprob - other) for one, other in zip(scored, plain, strict=True))
    return {**found, "choices_per_second": ours, "bare_choices_per_second": theirs, "largest_difference_nats": apart}


def proxy_tuning(rig: Rig) -> dict[str, Any]:
    """Decoding with the base, and the small base as expert and anti-expert, against the base alone."""
    base, small = rig.base.policy(), rig.small.policy()
    policy, prompts, size = ProxyPolicy(base, small, small, 1.0), prompts_of(rig), rig.size
    keys = [str(at) for at in range(len(prompts))]

    def drawn(by: Any) -> Callable[[], int]:
        sampling = Sampling(size.answer)
        return lambda: sum(len(one[0].drawn_ids) for one in by.sample(prompts, sampling, keys))

    with measured(rig) as found:
        ours, alone = _in_turn(rig, drawn(policy), drawn(base))
    same = [one[0].token_ids for one in policy.sample(prompts[:2], Sampling(8), keys[:2])] == [
        one[0].token_ids for one in base.sample(prompts[:2], Sampling(8), keys[:2])
    ]
    return {**found, "tokens_per_second": ours, "base_tokens_per_second": alone, "equal_experts_cancel": same}


def determinism(rig: Rig) -> dict[str, Any]:
    """Whether a second fit with the same seed has the same bytes, and a second sampling the same tokens."""
    figures: dict[str, Any] = {}
    for name in ("sft", "lora", "loreft"):
        if name in rig.fitted:
            method, first = rig.fitted[name]
            fit(rig, f"{name}-again", method)
            figures[f"{name}_equal_bytes"] = digest(first) == digest(rig.folder / f"{name}-again")
    policy, prompts = rig.base.policy(), prompts_of(rig)
    keys, sampling = [str(at) for at in range(len(prompts))], Sampling(16, temperature=1.0)
    drawn = [policy.sample(prompts, sampling, keys) for _ in range(2)]
    alone = [policy.sample([prompt], sampling, [key])[0] for prompt, key in zip(prompts, keys, strict=True)]
    figures["sample_equal_tokens"] = drawn[0] == drawn[1]
    figures["share_equal_in_another_batch"] = sum(a == b for a, b in zip(drawn[0], alone, strict=True)) / len(alone)
    return figures


def digest(folder: Path) -> str:
    """Of the weights in a folder."""
    hashed = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        hashed.update(file.read_bytes())
    return hashed.hexdigest()


def placement(rig: Rig) -> dict[str, Any]:
    """Which GPU each worker sees, with a stand-in folder for the devices of a machine with four."""
    from harness.engine.placement import Room, visible_gpus

    devices = rig.folder / "devices"
    devices.mkdir()
    for number in range(4):
        (devices / f"nvidia{number}").touch()
    seen = [device.seen()["CUDA_VISIBLE_DEVICES"] for device in Room(visible_gpus(None, devices), 5).devices]
    return {"workers_see": " ".join(seen), "as_expected": seen == ["0", "1", "2", "3", "0"]}


CHECKS: dict[str, Callable[[Rig], dict[str, Any]]] = {
    "sft": sft, "bare training": bare_training, "lora": lora, "loreft": loreft, "decoding": decoding,
    "scoring": scoring, "proxy_tuning": proxy_tuning, "dpo": dpo, "grpo": grpo, "determinism": determinism,
    "placement": placement,
}  # fmt: skip
