"""Experiment files changed at random: each still plans, or is one mistake with its place, quickly; never a traceback.

Half of the changes keep an experiment valid (other numbers within bounds, another order of keys, other styles of YAML);
the rest damage its text, its keys or its values. The seed decides every change.
"""

from __future__ import annotations

import io
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from ruamel.yaml import YAML

from harness.engine.config import load_experiment
from harness.engine.showable import clean, message
from harness.engine.tuning import plans
from harness.errors import UserError

ON_FILES_ELSEWHERE = {
    *("gemma-3-270m", "gemma-3-270m_rates", "gemma-3-270m_methods", "gemma-3-270m_methods_validation"),
    *("gemma-3-270m_more_methods", "gemma-3-270m_more_methods_validation", "gemma-3-270m_verified_validation"),
    *("real-bases", "beyond_sft", "beyond_sft_validation", "elicitation"),
}
"""Studies whose model or data is a file that a changed copy in another folder does not have."""
EXPERIMENTS = sorted(ROOT.glob("results/*/experiment.yaml"))


def reads_a_file_beside_it(file: Path) -> bool:
    """Whether the experiment names another YAML or JSONL file of its folder, such as its claims or its data."""
    beside = [path.name for kind in ("*.yaml", "*.jsonl") for path in file.parent.glob(kind) if path != file]
    return any(name in file.read_text("utf-8") for name in beside)


SHIPPED = [
    ROOT / "demo.yaml",
    *(file for file in EXPERIMENTS if file.parent.name not in ON_FILES_ELSEWHERE and not reads_a_file_beside_it(file)),
]
MOST_SECONDS = 2
POISON = [
    *(None, "", " ", "..", "-x", "x" * 3000, [], {}, [None], [[]], {"a": None}, True, False, 0, -1, 1.5, 2**70),
    *(
        1e308,
        "\x1b[31m",
        "\u202eabc",
        "\u0430",
        "=1+1",
        "{{ 7 }}",
        "a/b",
        "a:b",
        "~nobody/x",
        "/dev/zero",
        "/",
        "nan",
        "1e999",
    ),
    *("microworld/none", "2020-13-45", ["x", "x"], {"name": "x"}, [{"base": {}, "sft": {}}], {"as": "x"}, "on"),
]
PIECES = [
    *(
        "{",
        "}",
        "[",
        "]",
        ":",
        "- ",
        ",",
        "&a ",
        "*a",
        "<<: ",
        "!!int ",
        "!x ",
        "? ",
        "| ",
        "> ",
        "%",
        "@",
        "`",
        '"',
        "'",
    ),
    *("\t", "\n", "\0", "\r", "\x1b", "\u202e", "\ufeff", "---\n", "...\n", "#", "9" * 5000, ".nan", ".inf", "0x", "é"),
    *('"', "'", "[" * 40, "{a: " * 40, "- " * 40, "x" * 3000, "null", "true", "~"),
]


def damaged_text(text: str, draw: random.Random) -> str:
    """A few letters lost, put in or exchanged; a line lost, doubled or moved; the end cut off."""
    for _ in range(draw.choice((1, 1, 2, 5))):
        at = draw.randrange(len(text))
        lines = text.split("\n")
        line = draw.randrange(len(lines))
        text = (
            draw.choice(
                (
                    lambda: text[:at] + text[at + draw.randint(1, 5) :],  # noqa: B023
                    lambda: text[:at] + draw.choice(PIECES) + text[at:],  # noqa: B023
                    lambda: text[:at] + chr(draw.randrange(1, 0x3000)) + text[at + 1 :],  # noqa: B023
                    lambda: "\n".join(lines[:line] + lines[line + 1 :]),  # noqa: B023
                    lambda: "\n".join([*lines, lines[line]]),  # noqa: B023
                    lambda: "\n".join([*lines[:line], " " * draw.randint(1, 4) + lines[line], *lines[line + 1 :]]),  # noqa: B023
                    lambda: text[:at],  # noqa: B023
                )
            )()
            or "x"
        )
    return text


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in parts:
        yield (*path, key)
        yield from places(item, (*path, key))


def changed(value: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> None:
    for key in path[:-1]:
        value = value[key]
    change(value, path[-1])


def damaged_value(value: Any, draw: random.Random) -> None:
    """One value replaced, removed, wrapped in a list, or put under another key."""

    def replace(holder: Any, key: Any) -> None:
        holder[key] = draw.choice(POISON)

    def remove(holder: Any, key: Any) -> None:
        del holder[key]

    def wrap(holder: Any, key: Any) -> None:
        holder[key] = draw.choice((lambda old: [old], lambda old: {"a": old}, lambda old: [old, old], str))(holder[key])

    def rename(holder: Any, key: Any) -> None:
        new = draw.choice((str(key) + "s", str(key)[1:], str(key).upper(), "x", "\u0430", "<<", 5))
        if isinstance(holder, dict):
            holder[new] = holder.pop(key)

    changed(value, draw.choice([*places(value)]), draw.choice((replace, replace, replace, remove, wrap, rename)))


def varied(value: dict[str, Any], draw: random.Random) -> None:
    """Changes after which the experiment is still one."""
    value["name"] = draw.choice(("a study", "été 2025", "x" * 100, "7", "a 'b' \"c\"", "𝛼-test"))
    value["margin"] = draw.choice((0, 0.0, 1e-9, 0.02, "0.05", 3))
    value["threads"] = draw.randint(1, 8)
    value["micro_batch"] = draw.choice((1, 7, 2**20))
    value["seeds"] = sorted(draw.sample(range(50), draw.randint(1, 4))) + draw.choice(([], [2**32 - 1]))
    value["strict"] = draw.choice((True, False))
    for key in draw.sample(sorted(value), len(value)):
        value[key] = value.pop(key)


def written(value: Any, draw: random.Random) -> str:
    """The same value in one of the styles of YAML."""
    style = draw.randrange(5)
    if style == 0:
        return json.dumps(value, ensure_ascii=draw.random() < 0.5, indent=draw.choice((None, 1, 4)))
    dumper = YAML(typ="safe", pure=True)
    dumper.default_flow_style = draw.choice((True, False, None))
    dumper.allow_unicode = draw.random() < 0.5
    dumper.width = draw.choice((20, 80, 4096))
    stream = io.StringIO()
    dumper.dump(value, stream)
    text = stream.getvalue()
    if style == 1:
        text = f"\ufeff# a comment\n---\n{text}"
    return text.replace("\n", "\r\n") if style == 2 else text


def mutated(number: int) -> str:
    draw = random.Random(number)
    text = draw.choice(SHIPPED).read_text("utf-8")
    value = YAML(typ="safe", pure=True).load(text)
    if number % 2 == 0:
        varied(value, draw)
        return written(value, draw)
    if draw.random() < 0.5:
        return damaged_text(text, draw)
    for _ in range(draw.choice((1, 1, 2, 3))):
        damaged_value(value, draw)
    return written(value, draw)


def outcome(file: Path, store: Path, spent: list[float], *, only_read: bool) -> str:
    """`plans`, or `refused` with a message of at most two lines that can be shown; appends the seconds of CPU."""
    started = time.process_time()
    try:
        experiment = load_experiment(file)
        said = "plans" if only_read or next(iter(plans(experiment, store))).cells else "nothing"
    except UserError as error:
        shown = message(error)
        assert len(shown.split("\n")) <= 2, shown
        assert len(shown) < 2500
        assert clean(shown) == shown
        said = "refused"
    spent.append(time.process_time() - started)
    return said


def tried(numbers: range, folder: Path) -> tuple[Counter[str], list[float]]:
    counted: Counter[str] = Counter()
    spent: list[float] = []
    file = folder / "study.yaml"
    for number in numbers:
        text = mutated(number)
        file.write_text(text, "utf-8", errors="surrogatepass", newline="")
        try:
            # a plan takes half a second of CPU: some of the valid files, and some of the damaged ones that are read
            only_read = number % 40 != 0 if number % 2 == 0 else number % 4 != 1
            said = outcome(file, folder / "store", spent, only_read=only_read)
        except Exception as error:
            raise AssertionError(f"file {number} ends in {type(error).__name__}: {error}\n{text[:2000]}") from error
        if number % 2 == 0:
            assert said == "plans", f"file {number} is valid and was {said}:\n{text}"
        counted[said] += 1
    return counted, spent


@pytest.fixture(autouse=True)
def only_what_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_a_mutated_experiment_plans_or_is_one_clear_mistake(tmp_path: Path) -> None:
    counted, _ = tried(range(40), tmp_path)
    assert counted["plans"] >= 20
    assert counted["refused"] >= 5


@pytest.mark.slow
def test_5000_mutated_experiments_each_plan_or_are_refused_within_two_seconds(tmp_path: Path) -> None:
    for file in SHIPPED:  # the first plan loads libraries
        next(iter(plans(load_experiment(file), tmp_path / "store")))
    counted, spent = tried(range(5000), tmp_path)
    print(counted, f"longest {max(spent):.2f} s")
    assert counted["plans"] >= 2500
    assert counted["refused"] >= 1000
    assert max(spent) < MOST_SECONDS
