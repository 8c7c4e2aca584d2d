"""The report on policies that met: means by hand, pictures in both orders, and hostile answers that stay text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from test_report import HOSTILE, Fake, pages, table_rows

from harness.engine.results.schema import write_joint
from harness.report.findings.between_policies import JointFinding, joint_findings
from harness.report.numbers.matrix import read_matrix
from harness.report.render.heat_map import draw_heat_map

BASES, METHODS, SEEDS, ITEMS = ("world/large", "world/small"), ("plain", "tuned"), (0, 1, 2), 24
Value = Callable[[dict[str, Any], int], float]


def metric(name: str, primary: bool) -> dict[str, Any]:
    return {"name": name, "description": f"the {name}", "role": "other", "primary": primary,
            "higher_is_better": False, "by_group": False, "chance": None}  # fmt: skip


def meetings() -> Iterator[dict[str, Any]]:
    """All pairs at one seed, twins over seeds, everybody on a base."""
    places = [(base, method) for base in BASES for method in METHODS]
    for seed in SEEDS:
        for at, (base, method) in enumerate(places):
            for other_base, other_method in places[at + 1 :]:
                kind = "methods" if base == other_base else "bases" if method == other_method else "both"
                yield meeting(kind, 2, base, method, seed, other_base, other_method, seed)
        for base in BASES:
            yield meeting("all", len(METHODS), base, "", seed, base, "", seed)
    for base, method in places:
        for one, other in ((0, 1), (0, 2), (1, 2)):
            yield meeting("seeds", 2, base, method, one, base, method, other)


def meeting(kind: str, policies: int, base: str, method: str, seed: int, *other: Any) -> dict[str, Any]:
    names = dict(zip(("other_base", "other_method", "other_seed"), other, strict=True))
    place = {"benchmark": "tasks", "data_quality": "", "data_size": 0, "base": base, "method": method, "seed": seed}
    return {**place, "kind": kind, "policies": policies, **names}


def write(folder: Path, value: Value, answer: str = "an answer", left_out: str = "out of luck") -> Path:
    """A results folder whose policies met."""
    Fake(skills={"plain": (0.3, 0.7), "tuned": (0.8, 0.6)}, bases=BASES, items=40).write(folder)
    rows = [
        {**one, "metric": name, "group": "", "item": f"i{item:02d}", "cluster": f"c{item // 2:02d}",
         "value": value(one, item) * scale}
        for one in meetings()
        for item in range(ITEMS)
        for name, scale in (("similarity", 1.0), ("mix", 2.0))
        if name == "similarity" or one["kind"] == "all"
    ]  # fmt: skip
    excerpts = [
        {**one, "group": "", "item": f"i{item:02d}", "prompt": f"question {item}: {answer}", "title": title,
         "value": height, "methods": ["plain", "tuned"], "texts": [answer, f"{title} {item}"]}
        for one in meetings() if one["kind"] == "all"
        for item in range(ITEMS)
        for title, height in (("most alike", 0.9), ("most different", 0.1))
    ]  # fmt: skip
    write_joint(folder, rows, excerpts)
    matrix = json.loads((folder / "matrix.json").read_text())
    matrix["benchmarks"][0]["joint_metrics"] = [metric("similarity", True), metric("mix", False)]
    matrix["joint"] = [
        {"benchmark": "tasks", "data_quality": "", "data_size": 0, "policies": 12, "state": "done", "why": "",
         "left_out": [{"who": "broken/tasks/0", "why": left_out}]}
    ]  # fmt: skip
    (folder / "matrix.json").write_text(json.dumps(matrix))
    return folder


def by_kind(one: dict[str, Any], item: int) -> float:
    """.5 for methods on the large base and .3 on the small one, .2 for bases, .1 for both, .9 for twins, .4 for all."""
    height = {"bases": 0.2, "both": 0.1, "seeds": 0.9, "all": 0.4}.get(one["kind"])
    height = height if height is not None else 0.5 if one["base"] == "world/large" else 0.3
    return height + 0.01 * (item % 3) - 0.01


def the_joint(folder: Path) -> JointFinding:
    (joint,) = joint_findings(folder, read_matrix(folder))
    return joint


def test_means_stand_by_kind_of_pair_with_intervals_and_twins_are_of_items_only(tmp_path: Path) -> None:
    joint = the_joint(write(tmp_path, by_kind))
    found = {one.who: (one.policies, one.scores["similarity"]) for one in joint.comparisons}
    values = {who: score.value for who, (_, score) in found.items()}
    assert values == pytest.approx({
        "two methods on one base, world/large": 0.5, "two methods on one base, world/small": 0.3,
        "one method on two bases": 0.2, "two methods on two bases": 0.1,
        "one method with two seeds, world/large": 0.9, "one method with two seeds, world/small": 0.9,
        "all methods together, world/large": 0.4, "all methods together, world/small": 0.4,
    })  # fmt: skip
    score = found["two methods on one base, world/large"][1]
    assert score.low is not None
    assert score.high is not None
    # two items a cluster, 12 clusters; values of .49, .50, .51 in turn
    assert score.low < 0.5 < score.high < 0.52
    assert (score.clusters, score.seeds, score.items_only) == (12, 3, False)
    twins = found["one method with two seeds, world/large"][1]
    assert (twins.seeds, twins.items_only) == (1, True)
    everybody = next(one for one in joint.comparisons if one.who == "all methods together, world/small")
    assert everybody.scores["mix"].value == pytest.approx(0.8)


def test_an_item_that_one_seed_lacks_is_left_out_of_the_mean_and_nothing_is_zero(tmp_path: Path) -> None:
    joint = the_joint(write(tmp_path, by_kind))
    assert "mix" not in joint.comparisons[0].scores
    markdown, _, _ = pages(tmp_path)
    head, _, *rows = table_rows(markdown, "tasks: similarity between policies")
    mix = head.index("mix")
    assert {row[mix] for row in rows if not row[0].startswith("all")} == {"–"}
    assert [row[mix].split()[0] for row in rows if row[0].startswith("all")] == ["0.8", "0.8"]


def test_the_heat_map_has_every_pair_twice_its_twins_once_and_both_orders(tmp_path: Path) -> None:
    joint = the_joint(write(tmp_path, by_kind))
    assert joint.places == tuple((base, method) for base in BASES for method in METHODS)
    assert joint.maps is not None
    found = joint.maps["similarity"]
    assert len(found) == 4 * 4
    assert found[("world/large", "plain"), ("world/large", "tuned")] == pytest.approx(0.5)
    assert found[("world/small", "tuned"), ("world/small", "tuned")] == pytest.approx(0.9)
    markdown, web, _ = pages(tmp_path)
    maps = re.findall(r'<g class="heat">(.*?)</g>', web, re.DOTALL)
    assert [one.count("<rect ") for one in maps] == [16, 16]
    assert "similarity between policies, by base" in markdown
    assert "similarity between policies, by method" in markdown
    assert "Highest: plain, world/large with tuned, world/large 0.500" in markdown
    assert web.count("two answers of different methods that are most alike") == 1


def test_a_heat_map_is_well_formed_whatever_its_names_and_values_are() -> None:
    names = ["<b>&\"'", "x" * 200, HOSTILE]
    values = {(0, 0): 1.0, (0, 1): -0.2, (1, 0): 1.7, (2, 2): 0.08}
    drawn = draw_heat_map(names, values, HOSTILE, breaks=[1])
    tree = ElementTree.fromstring(drawn)
    squares = [node for node in tree.iter() if node.tag == "rect"]
    assert [node.get("fill-opacity") for node in squares] == ["0.750", "0.000", "0.750", "0.060"]
    assert [node.tag for node in tree.iter()].count("path") == 1
    many = draw_heat_map([str(at) for at in range(70)], {(0, 69): 0.5}, "many")
    # squares too small for a number: a scale says what their colours mean, where numbers stand it would be one more
    scale = [f">{step}</text>" for step in ("0", "0.25", "0.5", "0.75", "1")]
    assert all(one in many for one in scale)
    assert ">0.25</text>" not in drawn
    assert ".50" not in "".join(ElementTree.fromstring(many).itertext()).replace("0.500", "")


def test_hostile_answers_prompts_and_reasons_stay_text(tmp_path: Path) -> None:
    _, web, page = pages(write(tmp_path, by_kind, HOSTILE, HOSTILE))
    assert not {"script", "img", "iframe"} & set(page.tags)
    assert page.suspicious == []
    assert "&lt;script&gt;alert(1)" in web
    assert "{{7*7}}" in "".join(page.texts)
    assert page.tags.count("details") >= 2 * 8
    assert "most alike 2" in "".join(page.texts)


def test_the_prompts_to_read_are_those_with_the_most_and_the_least_alike_answers(tmp_path: Path) -> None:
    """Item 5 is by far the most alike, item 7 the least; four of each end and base are shown."""

    def value(one: dict[str, Any], item: int) -> float:
        return {5: 0.95, 7: 0.01}.get(item, 0.4 + item / 1000)

    readings = the_joint(write(tmp_path, value)).readings
    large = [reading.item for reading in readings if reading.base == "world/large"]
    assert large == ["i05", "i23", "i22", "i21", "i02", "i01", "i00", "i07"]
    assert [title for title, _, _ in readings[0].excerpts] == ["most alike", "most different"]


def test_a_comparison_that_failed_or_never_was_is_said_and_draws_nothing(tmp_path: Path) -> None:
    write(tmp_path, by_kind)
    for name in ("joint.parquet", "excerpts.parquet"):
        (tmp_path / name).unlink()
    matrix = json.loads((tmp_path / "matrix.json").read_text())
    matrix["joint"][0].update(state="failed", why="UserError: 3 of 3 embeddings are zero")
    (tmp_path / "matrix.json").write_text(json.dumps(matrix))
    markdown, web, _ = pages(tmp_path)
    assert "tasks between policies: failed, UserError: 3 of 3 embeddings are zero" in markdown
    assert 'class="heat"' not in web
