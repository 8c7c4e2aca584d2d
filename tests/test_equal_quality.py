"""The report's section on knowledge at equal quality: which methods are sweeps, and what is shown of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import pytest

from harness.engine.results.schema import write_rows
from harness.files import write_json
from harness.report.collect import Block, collect
from harness.report.compose import write_report
from harness.report.findings.equal_quality import equal_quality, equal_quality_parts, sweeps_of
from harness.report.numbers.matrix import MethodInfo
from harness.report.render.axes import Front, Point, draw_fronts

SKILLS = {  # label: plugin, rate, quality, knowledge
    "full_low": ("full", 1, 0.3, 0.8),
    "full_high": ("full", 4, 0.9, 0.4),
    "full_mid": ("full", 2, 0.6, 0.7),
    "thin_low": ("thin", 10, 0.2, 0.82),
    "thin_high": ("thin", 40, 0.85, 0.75),
}


def method(label: str, plugin: str, fields: Mapping[str, Any], *, small: bool = False) -> MethodInfo:
    return MethodInfo(label, plugin, small, fields)


def test_methods_that_differ_in_one_number_are_a_sweep_and_each_belongs_to_one() -> None:
    """Four rates at two epochs and two at four: one sweep each, none over the epochs; rank and alpha move together."""
    methods = [
        *(method(f"a{rate}", "full", {"rate": rate, "epochs": 2}) for rate in (4.0, 1.0, 2.0, 8.0)),
        *(method(f"b{rate}", "full", {"rate": rate, "epochs": 4}) for rate in (1.0, 2.0)),
        method("c", "full", {"rate": 1.0, "epochs": 2}, small=True),
        method("d", "thin", {"rank": 1, "alpha": 1.0}),
        method("e", "thin", {"rank": 4, "alpha": 4.0}),
        method("f", "flag", {"packing": True}),
        method("g", "flag", {"packing": False}),
    ]
    found = sweeps_of(methods)
    assert [(one.name, one.field, [m.label for m in one.methods]) for one in found] == [
        ("full, epochs 2", "rate", ["a1.0", "a2.0", "a4.0", "a8.0"]),
        ("full, epochs 4", "rate", ["b1.0", "b2.0"]),
    ]


def folder_of(tmp_path: Path, seeds: tuple[int, ...] = (0, 1, 2), **changed: tuple[str, float, float, float]) -> Path:
    skills = {**SKILLS, **changed}
    rows, cells = [], []
    for label, (_, _, quality, knowledge) in skills.items():
        for benchmark, chance in (("tasks", quality), ("facts", knowledge)):
            for seed in seeds:
                key = {"base": "b", "method": label, "data_quality": "", "data_size": 0, "seed": seed,
                       "benchmark": benchmark}  # fmt: skip
                cells.append({**key, "state": "done", "why": ""})
                right = numpy.random.default_rng([seed, *f"{label}{benchmark}".encode()]).random(150) < chance
                for item, value in enumerate(right):
                    rows.append({**key, "group": "", "item": f"{item:03d}", "cluster": f"{item:03d}", "weight": 1.0,
                                 "metric": "right", "value": float(value)})  # fmt: skip
    metric = {"name": "right", "description": "share right"}
    write_rows(tmp_path, rows, [])
    write_json(tmp_path / "matrix.json", {
        "schema": 2, "name": "sweeps", "baseline": "full_low", "reference": "full_mid", "margin": 0.1, "bases": ["b"],
        "seeds": list(seeds), "data_sizes": [0], "cells": cells,
        "methods": [{"label": label, "plugin": plugin, "on": "base", "fields": {"rate": rate}}
                    for label, (plugin, rate, *_) in skills.items()],
        "benchmarks": [{"label": label, "metrics": [{**metric, "role": role}]}
                       for label, role in (("tasks", "quality"), ("facts", "knowledge"))],
    })  # fmt: skip
    return tmp_path


def block_of(folder: Path) -> Block:
    (block,) = collect(folder).blocks
    return block


def test_two_sweeps_are_compared_at_round_levels_that_both_reach(tmp_path: Path) -> None:
    block = block_of(folder_of(tmp_path))
    quality, knowledge = block.measured
    (found,) = equal_quality(quality, knowledge, sweeps_of(block.methods))
    assert (found.first.name, found.second.name) == ("full", "thin")
    assert [one.level for one in found.matched] == [0.4, 0.6, 0.8]
    scores = {one.metric.role: {m: one.panel.methods[m].values.mean() for m in SKILLS} for one in block.measured}
    for one in found.matched:
        read = [
            numpy.interp(one.level, *[[scores[role][m] for m in own] for role in ("quality", "knowledge")])
            for own in (["full_low", "full_mid", "full_high"], ["thin_low", "thin_high"])
        ]
        assert (one.first, one.second) == pytest.approx(tuple(read))
        assert one.estimate.value == pytest.approx(read[0] - read[1])
        assert one.estimate.low is not None
    assert found.matched[-1].estimate.high is not None
    assert found.matched[-1].estimate.high < 0  # at 80 % of following the full method keeps about 20 points less


def test_the_section_shows_both_fronts_and_says_that_it_is_exploratory(tmp_path: Path) -> None:
    markdown, page = (path.read_text() for path in write_report(folder_of(tmp_path)))
    section = markdown.split("## Knowledge at equal quality")[1].split("\n## ")[0]
    assert "Exploratory" in section
    assert "full over rate: full_low (1), full_mid (2), full_high (4)" in section
    assert "| full − thin | 60.0 |" in section
    assert page.count('<polyline class="curve c0"') == 1
    assert "<title>thin, rate 40</title>" in page


def test_sweeps_that_share_no_quality_say_so_and_one_sweep_alone_has_no_section(tmp_path: Path) -> None:
    apart = {"thin_low": ("thin", 10, 0.05, 0.8), "thin_high": ("thin", 40, 0.2, 0.8)}
    block = block_of(folder_of(tmp_path / "apart", **apart))
    (found,) = equal_quality(*block.measured, sweeps_of(block.methods))
    assert found.reason.startswith("no quality in common (full: ")
    assert found.matched == ()
    alone = {"thin_low": ("thin", 10, 0.2, 0.8), "thin_high": ("other", 10, 0.8, 0.8)}
    assert list(equal_quality_parts(block_of(folder_of(tmp_path / "alone", **alone)))) == []


def test_one_seed_has_the_difference_and_no_interval(tmp_path: Path) -> None:
    section = write_report(folder_of(tmp_path, (7,)))[0].read_text().split("## Knowledge at equal quality")[1]
    row = next(line for line in section.splitlines() if line.startswith("| full − thin | 60.0"))
    assert "one seed: an interval takes 3 or more" in row
    assert "[" not in row


def test_a_front_of_hostile_names_stays_text() -> None:
    drawn = draw_fronts(
        [Front("<b>&", (Point("<i>", 1.0, 2.0, None, None), Point("x", 3.0, 4.0, None, None)))], "x", "y"
    )
    assert "<b>" not in drawn
    assert "<title>&lt;b&gt;&amp;, &lt;i&gt;</title>" in drawn
