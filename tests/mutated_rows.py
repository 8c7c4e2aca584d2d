"""Rows of every layout, changed at random: keys dropped, renamed and added, values of other types, odd text."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

Row = dict[str, Any]
Place = tuple[Any, ...]


def layouts() -> list[Row]:
    """One row of every layout. Every text is unique, so that a lost one is noticed."""
    numbers = count(1)

    def text(words: str = "some text") -> str:
        return f"{words} zq{next(numbers)}x"

    def openai(*roles: str) -> list[Row]:
        return [{"role": role, "content": text()} for role in roles]

    def sharegpt(*roles: str) -> list[Row]:
        return [{"from": role, "value": text()} for role in roles]

    def human(*names: str) -> str:
        return "".join(f"\n\n{name}: {text()}" for name in names)

    call = {"id": "c1", "type": "function", "function": {"name": text("now"), "arguments": json.dumps({"a": text()})}}
    tools = [{"type": "function", "function": {"name": text("f"), "parameters": {"type": "object"}}}]
    history = openai("user", "assistant", "user")
    shared = f"The first words {text()} of both"
    once = human("Human", "Assistant", "Human")
    return [
        {"messages": openai("user", "assistant")},
        {"messages": openai("system", "user", "assistant", "user", "assistant"), "id": "m", "source": "s"},
        {"messages": [*openai("user"), {"role": "assistant", "content": text(), "reasoning_content": text()}]},
        {"messages": [*openai("user"), {"role": "assistant", "content": text(), "tool_calls": [call]},
                      {"role": "tool", "content": text(), "tool_call_id": "c1"}, *openai("assistant")], "tools": tools},
        {"messages": [*openai("user"), {"role": "assistant", "content": None, "function_call": call["function"]}],
         "functions": json.dumps(tools)},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": text()}, {"type": "text", "text": text()}]},
                      {"role": "assistant", "content": [{"type": "thinking", "thinking": text()},
                                                        {"type": "text", "text": text()}]}]},
        {"messages": [*openai("user"), {"role": "assistant", "content": text(), "weight": 0},
                      *openai("user", "assistant")], "prompt": text(), "topic": text()},
        {"messages": sharegpt("human", "gpt")},
        {"messages": openai("user", "assistant"), "label": True},
        {"conversation": openai("user", "assistant"), "language": text()},
        {"conversations": sharegpt("human", "gpt"), "system": text(), "tools": json.dumps(tools)},
        {"conversations": sharegpt("system", "human", "function_call", "observation", "gpt")},
        {"conversations": sharegpt("human", "gpt"), "label": "False"},
        {"instruction": text(), "input": text(), "output": text(), "system": text(), "history": [[text(), text()]]},
        {"instruction": text(), "context": text(), "response": text(), "category": text()},
        {"instruction": text(), "instances": [{"input": text(), "output": text()}], "is_classification": False},
        {"instruction": text(), "input": text(), "answer": text(), "output": ""},
        {"prompt": text(), "completion": text()},
        {"prompt": text(), "response": text(), "reasoning": text(), "score": 1.5},
        {"prompt": openai("user"), "completion": openai("assistant"), "label": 1},
        {"prompt": once + "\n\nAssistant:", "completion": text()},
        {"question": text(), "response": text(), "system_prompt": text()},
        {"query": text(), "response": text()},
        {"input": text(), "output": text()},
        {"problem": text(), "solution": text(), "level": text()},
        {"question": text(), "answer": f"{text()}\n#### 1,234"},
        {"question": text(), "answer": text(), "context": text()},
        {"prompt": text(), "reference": text(), "verifier": "exact"},
        {"problem": text(), "answer": 42},
        {"prompt": text(), "chosen": text(), "rejected": text(), "margin": 0.5},
        {"prompt": history, "chosen": text(), "rejected": text()},
        {"prompt": text(), "chosen": {"role": "assistant", "content": text()}, "rejected": openai("assistant")},
        {"chosen": [*history, *openai("assistant")], "rejected": [*history, *openai("assistant")], "score_chosen": 8.0},
        {"chosen_messages": [*history, *openai("assistant")], "rejected_messages": [*history, *openai("assistant")]},
        {"messages": history, "chosen": text(), "rejected": text()},
        {"question": text(), "system": text(), "chosen": text(), "rejected": text()},
        {"input": text(), "chosen": text(), "rejected": text()},
        {"instruction": text(), "input": text(), "chosen": text(), "rejected": text()},
        {"conversations": sharegpt("human"), "chosen": sharegpt("gpt")[0], "rejected": sharegpt("gpt")[0]},
        {"chosen": once + human("Assistant"), "rejected": once + human("Assistant")},
        {"chosen": f"{shared} {text()}", "rejected": f"{shared} {text()}"},
    ]  # fmt: skip


TRAINING = ("ultrafeedback_sft1k", "llama_factory_demo", "self_instruct", "gsm8k", "math_perturb", "llm_adapters/*")


def published(folder: Path, each: int = 12) -> list[Row]:
    """Rows of the training files in the shared data folder; none where it is absent."""
    found: list[Row] = []
    for path in sorted(path for part in TRAINING for path in folder.glob(f"{part}/*.json*")):
        text = path.read_text("utf-8", errors="replace") if path.suffix in (".json", ".jsonl") else ""
        try:
            rows = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()[:each]]
        except ValueError:
            continue
        found += [row for row in rows[:each] if isinstance(row, dict) and len(json.dumps(row)) < 20_000]
    return found


COLUMNS = [
    *["messages", "conversations", "conversation", "prompt", "completion", "response", "question", "query", "problem"],
    *["instruction", "input", "context", "output", "answer", "reference", "solution", "chosen", "rejected", "history"],
    *["instances", "system", "system_prompt", "tools", "functions", "label", "kto_tag", "verifier", "id", "source"],
    *["reasoning_content", "thinking", "reasoning", "weight", "train", "images", "image", "audio", "choices"],
    *["options", "Messages", "promt", "chosen_messages", "rejected_messages", "provenance", "topic", "", "metadata"],
    *["\u202eprompt", "prompt "],
]
TURN_KEYS = [
    *["role", "from", "content", "value", "text", "parts", "refusal", "name", "type", "tool_calls", "function_call"],
    *["tool_call_id", "reasoning_content", "thinking", "reasoning", "weight", "train", "loss_mask", "masked", "mask"],
    *["label", "images", "image", "image_url", "tools", "functions", "Content", "contents", "message", "channel"],
]
NASTY: list[Any] = [
    *[None, True, False, 0, 1, -7, 2**70, 10**400, 0.5, float("nan"), float("inf"), "", " ", "\n\n", "NaN", "null"],
    *[[], {}, [None], [[]], {"a": None}, ["zq9001x"], {"text": "zq9002x"}, [["zq9003x", "zq9004x"]], "[", "[1, 2]"],
    *["\x00 zq9005x", "\ud800 zq9006x", "zq9007x \u2028\u202e\u200b\ufeff", "e\u0301\U0001f469\u200d\U0001f4bb zq98x"],
    *["a" * 200_000, "[" * 5_000, "{" * 5_000, "Human: zq9009x", "\n\nHuman: zq9010x\n\nAssistant: zq9011x", "#### 7"],
    *['[{"role": "user", "content": "zq9012x"}]', "[{'from': 'human', 'value': 'zq9013x'}]", "<|im_start|> zq9014x"],
    *[{"role": "user", "content": "zq9015x"}, [{"role": "assistant", "content": "zq9016x"}], "\\boxed{7}", "assistant"],
    *[[{"type": "image_url", "image_url": "zq9017x"}], [{"type": "text", "text": "zq9018x"}], ["a"] * 2_000],
]  # fmt: skip


def mutated(rows: Sequence[Row], random: Random) -> Row:
    """A copy of one of the rows after one to three changes."""
    row = copy.deepcopy(random.choice(rows))
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        places = [*_places(row)]
        if places:
            random.choice(CHANGES)(row, random.choice(places), random)
    return row


def _places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Every place in the row, the deeper ones too."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in list(inside)[:50]:
        yield (*place, key)
        if len(place) < 8:
            yield from _places(one, (*place, key))


def _holder(row: Row, place: Place) -> Any:
    held: Any = row
    for key in place[:-1]:
        held = held[key]
    return held


def _name(place: Place, random: Random) -> str:
    """A name of a column, or deeper in the row mostly one of a turn."""
    return random.choice(COLUMNS if len(place) == 1 or random.random() < 0.1 else TURN_KEYS)


def _drop(row: Row, place: Place, random: Random) -> None:
    del _holder(row, place)[place[-1]]


def _rename(row: Row, place: Place, random: Random) -> None:
    holder = _holder(row, place)
    if isinstance(holder, dict):
        holder[_name(place, random)] = holder.pop(place[-1])


def _add(row: Row, place: Place, random: Random) -> None:
    holder = _holder(row, place)
    value = random.choice([f"added zq{random.randrange(10**6, 10**7)}x", random.choice(NASTY)])
    if isinstance(holder, dict):
        holder[_name(place, random)] = copy.deepcopy(value)
    else:
        holder.insert(place[-1], value)


def _copy_under_another_name(row: Row, place: Place, random: Random) -> None:
    holder = _holder(row, place)
    value = copy.deepcopy(holder[place[-1]])
    if isinstance(value, str) and random.random() < 0.5:
        value = f"{value} zq{random.randrange(10**6, 10**7)}x"
    if isinstance(holder, dict):
        holder[_name(place, random)] = value
    else:
        holder.insert(place[-1], value)


def _replace(row: Row, place: Place, random: Random) -> None:
    _holder(row, place)[place[-1]] = copy.deepcopy(random.choice(NASTY))


def _nest(row: Row, place: Place, random: Random) -> None:
    holder = _holder(row, place)
    value = holder[place[-1]]
    for _ in range(random.choice([1, 1, 1, 40, 200])):
        value = random.choice([[value], {_name(place, random): value}])
    holder[place[-1]] = value


def _as_text(row: Row, place: Place, random: Random) -> None:
    holder = _holder(row, place)
    holder[place[-1]] = random.choice([json.dumps, str])(holder[place[-1]])


def _odd_text(row: Row, place: Place, random: Random) -> None:
    holder = _holder(row, place)
    value = holder[place[-1]]
    if isinstance(value, str):
        odd = random.choice(["\x00", "\u200b", "\u202e", "\ufeff", "\u2028", "\r\n", "\ud83d", "\U0001f600", "\t", '"'])
        at = random.randrange(len(value) + 1)
        holder[place[-1]] = random.choice([value[:at] + odd + value[at:], f"  {value}\n\n", value * 300])


def _swap(row: Row, place: Place, random: Random) -> None:
    holder = _holder(row, place)
    other = random.choice([*holder] if isinstance(holder, dict) else range(len(holder)))
    holder[place[-1]], holder[other] = holder[other], holder[place[-1]]


CHANGES = [_drop, _rename, _add, _add, _copy_under_another_name, _replace, _replace, _nest, _as_text, _odd_text, _swap]
