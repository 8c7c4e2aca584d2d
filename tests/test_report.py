"""The report on small fake results: what it shows, what it leaves blank, and that hostile text stays text."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy
import pytest

from harness.engine.results.schema import write_rows
from harness.errors import UserError
from harness.files import write_json
from harness.report import verdict
from harness.report.collect import Block, collect
from harness.report.compose import write_report
from harness.report.findings.side_by_side import examples_of
from harness.stats.intervals import Estimate

HOSTILE = (
    "<script>alert(1)</script> {{7*7}} {% for x in y %} </td></tr></table> | pipe | `tick` ```` \n# head\n"
    "<img src=x onerror=alert(2)> ![pic](http://evil.example/x.png) www.evil.example \x00\x1b[31m \u202eabc ]]> -->"
)


@dataclass
class Fake:
    """A results folder: skills[method] is the chance to be right on the quality benchmark and on knowledge."""

    skills: Mapping[str, tuple[float, float]] = field(
        default_factory=lambda: {"plain": (0.3, 0.7), "tuned": (0.8, 0.69), "harsh": (0.6, 0.3), "weak": (0.31, 0.7)}
    )
    seeds: tuple[int, ...] = (0, 1, 2)
    items: int = 120
    baseline: str | None = "plain"
    reference: str | None = "tuned"
    bases: tuple[str, ...] = ("world/large",)
    data_sizes: tuple[int, ...] = (0,)
    small: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset({"plain"})
    broken: Mapping[tuple[str, int, str], str] = field(default_factory=dict)
    answer: str = "an answer"
    lose: Callable[[str, int, int], bool] = lambda method, seed, item: False
    secondary: bool = True
    notes: Mapping[tuple[str, int], Mapping[str, str]] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        rows: list[dict[str, Any]] = []
        samples: list[dict[str, Any]] = []
        cells: list[dict[str, Any]] = []
        for base in self.bases:
            for size in self.data_sizes:
                for method in self.skills:
                    self._method(base, size, method, rows, samples, cells)
        write_rows(folder, rows, samples)
        write_json(folder / "matrix.json", self._matrix(cells))
        write_json(folder / "costs.json", {"schema": 2, "artifacts": self._costs()})
        write_json(folder / "provenance.json", {"versions": {"torch": "2.9"}, "commit": "abc", "dirty": "no"})
        (folder / "experiment.yaml").write_text("name: fake\nnote: </pre><script>\n")
        return folder

    def _method(self, base: str, size: int, method: str, rows: list[Any], samples: list[Any], cells: list[Any]) -> None:
        place = "world/small" if method in self.small else base
        skill = self.skills[method]
        for benchmark, chance in (("tasks", skill[0]), ("facts", skill[1])):
            for seed in self.seeds:
                key = {
                    "base": place,
                    "method": method,
                    "data_quality": "",
                    "data_size": size,
                    "seed": seed,
                    "benchmark": benchmark,
                }
                why = self.broken.get((method, seed, benchmark))
                state = "done" if why is None else why.split(":")[0]
                cells.append({**key, "state": state, "why": (why or "").partition(":")[2]})
                if why is not None:
                    continue
                stream = 0 if method in self.fixed else 10 + seed
                draws = numpy.random.default_rng([stream, len(method), size, len(benchmark)]).random(self.items)
                for item in range(self.items):
                    if self.lose(method, seed, item):
                        continue
                    group = "easy" if item % 2 else "hard"
                    value = float(draws[item] < chance)
                    row = {**key, "group": group, "item": f"i{item:04d}", "cluster": f"c{item:04d}", "weight": 1.0}
                    rows.append({**row, "metric": "accuracy", "value": value})
                    if self.secondary and benchmark == "tasks":
                        rows.append({**row, "metric": "length", "value": 20 + 10 * value + item % 3})
                    samples.append({
                        **key, "group": group, "item": f"i{item:04d}", "prompt": f"Question {item}: {self.answer}",
                        "completions": [f"{self.answer} of {method}", "second"], "reference": self.answer,
                        "flags": ["truncated"] if item == 0 else [],
                    })  # fmt: skip

    def _costs(self) -> list[dict[str, Any]]:
        return [
            {
                "base": "world/small" if method in self.small else base, "method": method, "data_quality": "",
                "data_size": size,
                "seed": seed, "trained_parameters": None if method in self.fixed else 12_345,
                "total_parameters": 1_000_000, "stored_bytes": 2_000_000, "fit_seconds": 12.5 + seed,
                "shared_fit_seconds": 3.0, "training_tokens": 54_321, "generated_tokens": 0,
                "peak_memory_mb": 512.0, "evaluate_seconds": {"tasks": 3.1, "facts": 1.0},
                "seconds_per_token": 0.0012, "overhead_per_token": 1.0 if method in self.fixed else 1.07,
                "notes": dict(self.notes.get((method, seed), {})),
            }
            for base in self.bases
            for size in self.data_sizes
            for method in self.skills
            for seed in self.seeds
        ]  # fmt: skip

    def _matrix(self, cells: list[dict[str, Any]]) -> dict[str, Any]:
        accuracy = {"name": "accuracy", "description": "share right", "primary": True, "higher_is_better": True}
        length = {
            "name": "length", "description": "words", "role": "other", "primary": False,
            "higher_is_better": False, "by_group": False, "chance": None,
        }  # fmt: skip
        return {
            "schema": 2, "name": "fake", "baseline": self.baseline, "reference": self.reference, "margin": 0.1,
            "bases": list(self.bases), "small_base": "world/small" if self.small else None,
            "seeds": list(self.seeds), "data_sizes": list(self.data_sizes),
            "methods": [
                {
                    "label": method, "plugin": method, "on": "small_base" if method in self.small else "base",
                    "fields": {"rate": 0.1}, "summary": f"What {method} does. {self.answer}",
                    "deterministic": method in self.fixed, "badges": ["untuned"] if method == "weak" else [],
                }
                for method in self.skills
            ],
            "benchmarks": [
                {
                    "label": "tasks", "plugin": "tasks", "version": 1, "fields": {}, "summary": "Does tasks.",
                    "metrics": [
                        {**accuracy, "role": "quality", "by_group": True, "chance": None},
                        *([length] if self.secondary else []),
                    ],
                },
                {
                    "label": "facts", "plugin": "facts", "version": 2, "fields": {}, "summary": "Knows facts.",
                    "metrics": [{**accuracy, "role": "knowledge", "by_group": False, "chance": 0.25}],
                },
            ],
            "cells": cells,
        }  # fmt: skip


def is_plain_picture(address: str) -> bool:
    """Whether the address holds an SVG of shapes, text and rules that load nothing."""
    start, _, told = address.partition(",")
    root = ElementTree.fromstring(unquote(told))
    tags = {element.tag.removeprefix("{http://www.w3.org/2000/svg}") for element in root.iter()}
    names = {name for element in root.iter() for name in element.attrib}
    rules = "".join(element.text or "" for element in root.iter() if element.tag.endswith("style"))
    shapes = {"svg", "style", "g", "rect", "line", "path", "polyline", "circle", "text"}
    loads = any(word in rules for word in ("url(", "@", "<"))
    return start == "data:image/svg+xml" and tags <= shapes and not loads and not any(n[:2] == "on" for n in names)


class Page(HTMLParser):
    """Collects what a browser would load or run: tags, event handlers, addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.suspicious: list[str] = []
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        saved = "download" in dict(attrs)
        self.suspicious += [
            name for name, value in attrs
            if name.startswith("on") or name in ("src", "srcset")
            or (name == "href" and not (is_plain_picture(str(value)) if saved else str(value).startswith("#")))
        ]  # fmt: skip
        if tag not in ("meta", "line", "circle", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def pages(folder: Path) -> tuple[str, str, Page]:
    """(Markdown, HTML, the parsed HTML), with the tags shown to be balanced."""
    markdown, web = (path.read_text(encoding="utf-8") for path in write_report(folder))
    page = Page()
    page.feed(web)
    assert page.open == []
    return markdown, web, page


def block_of(folder: Path) -> Block:
    return collect(folder).blocks[0]


def table_rows(markdown: str, title: str) -> list[list[str]]:
    """The cells of the first table after a heading."""
    lines = markdown.split(title, 1)[1].split("\n")
    first = next(index for index, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = Fake().write(tmp_path / "a"), Fake().write(tmp_path / "b")
    for one, other in zip(write_report(first), write_report(second), strict=True):
        assert one.read_bytes() == other.read_bytes()
    before = [path.read_bytes() for path in write_report(first)]
    assert before == [path.read_bytes() for path in write_report(first)]


def test_the_verdict_says_what_is_better_kept_worse_and_not_established(tmp_path: Path) -> None:
    folder = Fake(items=600).write(tmp_path)
    markdown, _, _ = pages(folder)
    verdict = markdown.split("## Verdict")[1].split("## The matrix")[0]
    assert "better than plain: tuned +" in verdict
    assert re.search(r"worse than plain: harsh −\d", verdict)
    assert re.search(r"shown not to lose 10.0 points or more: .*weak", verdict)
    assert re.search(r"not established either way: weak", verdict)
    assert "no significant" not in verdict.lower()
    assert "the correction for 6 tests" in verdict


def test_of_many_methods_the_findings_are_folded_behind_the_answer(tmp_path: Path) -> None:
    skills = {f"m{at}": (0.3 + 0.05 * at, 0.7) for at in range(9)} | {"plain": (0.3, 0.7)}
    markdown, web, _ = pages(Fake(skills=skills).write(tmp_path))
    verdict = markdown.split("## Verdict")[1].split("## The matrix")[0]
    assert "best among" in verdict.split("every metric, method by method")[0]
    assert "better than plain" in verdict.split("every metric, method by method")[1]
    assert "<details><summary>every metric, method by method" in web


@pytest.mark.parametrize(("effect", "words"), [(0.31, "below about 31.0 points"), (2.02, "even the largest")])
def test_no_difference_is_named_that_no_share_can_have(effect: float, words: str) -> None:
    result: Any = SimpleNamespace(percent=True, comparisons={"weak": SimpleNamespace(effect=(effect / 2, effect))})
    assert words in verdict._unseen(["weak"], result)


@pytest.mark.parametrize(
    ("low", "high", "kind"), [(0.8, 1.1, "near"), (-0.2, -0.1, "near"), (-0.1, 0.2, "open"), (None, None, "open")]
)
def test_what_the_correction_alone_leaves_open_is_told_apart(low: float | None, high: float | None, kind: str) -> None:
    assert verdict._undecided(Estimate(0.5, low=low, high=high)) == kind


def test_scores_are_the_means_of_the_rows(tmp_path: Path) -> None:
    """`plain` repeats its answers at every seed; 120 items of weight 1: the mean is right / 120."""
    folder = Fake().write(tmp_path)
    right = int((numpy.random.default_rng([0, 5, 0, 5]).random(120) < 0.3).sum())
    result = block_of(folder).results[0]
    assert result.scores["plain"].estimate.value == pytest.approx(right / 120)
    assert table_rows(pages(folder)[0], "## The matrix")[2][1].startswith(f"{100 * right / 120:.1f} ")


def test_the_gap_runs_from_the_baseline_to_the_reference(tmp_path: Path) -> None:
    block = block_of(Fake(items=400).write(tmp_path))
    scores = {label: score.estimate.value or 0 for label, score in block.results[0].scores.items()}
    gap = block.gaps["harsh", "tasks", "accuracy"]
    expected = (scores["harsh"] - scores["plain"]) / (scores["tuned"] - scores["plain"])
    assert gap.value == pytest.approx(expected)
    assert {label for label, *_ in block.gaps} == {"harsh", "weak"}


def test_knowledge_kept_is_the_ratio_of_means_with_the_interval_of_the_difference(tmp_path: Path) -> None:
    block = block_of(Fake().write(tmp_path))
    facts = next(result for result in block.results if result.metric.role == "knowledge")
    kept = block.kept["harsh"]
    means = [facts.scores[label].estimate.value or 0 for label in ("harsh", "plain")]
    assert kept.share == pytest.approx(means[0] / means[1])
    assert kept.difference is not None
    assert (kept.difference.low, kept.difference.high) == pytest.approx(facts.comparisons["harsh"].pointwise)


def test_a_fit_that_taught_nothing_is_named_in_verdict_and_audit_with_method_data_and_seeds(tmp_path: Path) -> None:
    silent, same = {"no_signal": "none of its 64 answers verified"}, {"unchanged": "every weight is as it was"}
    notes = {("tuned", 0): silent, ("tuned", 2): silent, ("weak", 1): {**same, "loss": "falls"}}
    fake = Fake(data_sizes=(0, 50), notes=notes)
    markdown, web, _ = pages(fake.write(tmp_path / "a"))
    verdict, rest = markdown.split("## The matrix", 1)[0], markdown.split("Fairness audit", 1)[1]
    for part in (verdict, rest, web):
        assert "tuned (world/large, 50 training examples, seeds 0 and 2): none of its 64 answers verified" in part
        assert "weak (world/large, 50 training examples, seed 1): every weight is as it was" in part
    table = markdown.split("## The matrix", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in table.splitlines() if "taught nothing" in line and line.startswith("|")]
    assert sorted({row.split("|")[1].split()[0] for row in rows}) == ["tuned", "weak"]
    assert markdown.count("plain (world/large") == 0
    assert "taught nothing" not in pages(Fake().write(tmp_path / "b"))[0]


def test_one_seed_speaks_of_these_trained_runs_only(tmp_path: Path) -> None:
    folder = Fake(seeds=(0,)).write(tmp_path)
    markdown, _, _ = pages(folder)
    assert "how much another seed would change is unknown" in markdown.split("## The matrix")[0]
    assert "these trained runs only" in markdown.split("## The matrix")[0]
    assert "items only" in markdown


def test_a_deterministic_method_run_once_stands_for_every_seed(tmp_path: Path) -> None:
    broken = {("plain", seed, name): "gone:" for seed in (1, 2) for name in ("tasks", "facts")}
    folder = Fake(broken=broken).write(tmp_path)
    matrix = json.loads((folder / "matrix.json").read_text())
    matrix["cells"] = [cell for cell in matrix["cells"] if cell["state"] != "gone"]
    write_json(folder / "matrix.json", matrix)
    once, often = block_of(folder), block_of(Fake().write(tmp_path / "often"))
    assert once.results[0].comparisons["tuned"].estimate == often.results[0].comparisons["tuned"].estimate


def test_failed_and_impossible_cells_are_shown_with_their_reasons(tmp_path: Path) -> None:
    broken = {("harsh", seed, "tasks"): "failed:NaN loss at step 12" for seed in (0, 1, 2)}
    broken |= {("weak", seed, "facts"): "n/a:it can only sample" for seed in (0, 1, 2)}
    folder = Fake(broken=broken).write(tmp_path)
    markdown, _, _ = pages(folder)
    rows = {row[0].split(" ")[0]: row for row in table_rows(markdown, "## The matrix")}
    assert rows["harsh"][1] == "failed (NaN loss at step 12)"
    assert rows["weak"][2] == "n/a (it can only sample)"
    ledger = table_rows(markdown, "## Cells without a result")
    assert [ledger[2][i].strip("*") for i in (0, 5, 6)] == ["failed", "0, 1, 2", "NaN loss at step 12"]


def test_what_failed_counts_in_the_family_and_what_is_impossible_does_not(tmp_path: Path) -> None:
    """Three rivals on two metrics are 6 tests; one n/a leaves 5, a failed one still leaves 6."""
    impossible = {("weak", seed, "facts"): "n/a:cannot" for seed in (0, 1, 2)}
    failed = {("weak", seed, "facts"): "failed:boom" for seed in (0, 1, 2)}
    assert block_of(Fake().write(tmp_path / "all")).tests == 6
    assert block_of(Fake(broken=impossible).write(tmp_path / "na")).tests == 5
    assert block_of(Fake(broken=failed).write(tmp_path / "failed")).tests == 6


def test_a_method_that_misses_a_seed_is_compared_on_common_seeds_and_not_ranked(tmp_path: Path) -> None:
    block = block_of(Fake(broken={("harsh", 2, "tasks"): "failed:boom"}).write(tmp_path))
    assert block.results[0].comparisons["harsh"].estimate.seeds == 2
    assert block.results[0].scores["harsh"].rank is None
    assert block.results[0].scores["tuned"].rank is not None


def test_a_single_common_seed_is_never_tested_beside_several(tmp_path: Path) -> None:
    broken = {("harsh", seed, "tasks"): "failed:boom" for seed in (1, 2)}
    comparison = block_of(Fake(broken=broken).write(tmp_path)).results[0].comparisons["harsh"]
    assert comparison.estimate.items_only
    assert comparison.estimate.p is not None
    assert (comparison.adjusted, comparison.better) == (None, False)


def test_up_to_five_per_cent_of_lost_items_are_left_out_and_more_are_refused(tmp_path: Path) -> None:
    few = Fake(lose=lambda method, seed, item: method == "harsh" and item < 5).write(tmp_path / "few")
    comparison = block_of(few).results[0].comparisons["harsh"]
    assert (comparison.items, comparison.dropped) == (115, 5)
    many = Fake(lose=lambda method, seed, item: method == "harsh" and item < 7).write(tmp_path / "many")
    refused = block_of(many).results[0]
    assert refused.comparisons["harsh"].estimate.value is None
    assert "missing" in refused.comparisons["harsh"].estimate.reason
    assert refused.comparisons["tuned"].estimate.low is not None
    assert "–" in table_rows(pages(many)[0], "## The matrix")[4][1]


def test_items_that_each_of_several_seeds_lost_add_up(tmp_path: Path) -> None:
    """Three other items at each of three seeds: 2.5 % of the scores are missing, and 7.5 % of the items."""
    lost = Fake(lose=lambda method, seed, item: method == "harsh" and item // 3 == seed).write(tmp_path)
    refused = block_of(lost).results[0].comparisons["harsh"].estimate
    assert refused.value is None
    assert "8 % of the items lack a score of one of them" in refused.reason


def test_few_clusters_are_flagged_and_very_few_claim_nothing(tmp_path: Path) -> None:
    folder = Fake(items=19).write(tmp_path / "few")
    assert any(c.adjusted for r in block_of(folder).results for c in r.comparisons.values())
    assert "‡" in pages(folder)[0]
    folder = Fake(items=4).write(tmp_path / "fewer")
    comparisons = [c for r in block_of(folder).results for c in r.comparisons.values()]
    assert comparisons
    assert not any(c.better or c.worse or c.adjusted or c.estimate.low is not None for c in comparisons)
    assert "Fewer than 5 effective clusters, so no interval and no test" in pages(folder)[0]


def test_where_the_reference_gains_nothing_no_column_of_gaps_stands_and_the_legend_says_so(tmp_path: Path) -> None:
    markdown, _, _ = pages(Fake(reference="weak").write(tmp_path))
    legend = markdown.split("## The matrix")[1]
    assert "No gap to close on" in legend
    assert "weak is not clearly better than plain" in legend
    assert "gap closed" not in legend.split("Mean, its pointwise")[0]


def test_it_works_without_baseline_or_reference(tmp_path: Path) -> None:
    markdown, _, _ = pages(Fake(baseline=None, reference=None).write(tmp_path / "none"))
    assert "No baseline is declared" in markdown
    assert "no method is shown to be better than: tuned" in markdown
    assert "gap closed" not in pages(Fake(reference=None).write(tmp_path / "open"))[0].split("Legend")[0]


def test_it_works_with_nothing_done_and_with_nothing_declared(tmp_path: Path) -> None:
    every = {(m, s, b): "failed:boom" for m in Fake().skills for s in (0, 1, 2) for b in ("tasks", "facts")}
    markdown, _, _ = pages(Fake(broken=every).write(tmp_path / "failed"))
    assert "No cell of the matrix is done yet" in markdown
    assert "boom" in markdown
    empty = Fake(skills={}).write(tmp_path / "empty")
    matrix = json.loads((empty / "matrix.json").read_text())
    write_json(empty / "matrix.json", {**matrix, "bases": [], "benchmarks": []})
    for name in ("rows.parquet", "samples.parquet", "costs.json", "provenance.json", "experiment.yaml"):
        (empty / name).unlink()
    assert "matrix is empty" in pages(empty)[0]


def test_another_schema_or_no_matrix_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"matrix\.json"):
        write_report(tmp_path)
    folder = Fake(items=5).write(tmp_path)
    write_json(folder / "matrix.json", {"schema": 99})
    with pytest.raises(UserError, match="version 2"):
        write_report(folder)


def test_each_base_and_data_size_is_a_block_of_its_own(tmp_path: Path) -> None:
    fake = Fake(bases=("world/large", "world/other"), data_sizes=(30, 100), small=frozenset({"weak"}), items=60)
    model = collect(fake.write(tmp_path))
    assert [(b.base, b.data.size) for b in model.blocks] == [
        ("world/large", 30), ("world/large", 100), ("world/other", 30), ("world/other", 100)
    ]  # fmt: skip
    assert all(block.results[0].comparisons["weak"].estimate.low is not None for block in model.blocks)
    assert len({e.item for b in model.blocks for e in examples_of(b, model.matrix, len(model.blocks))}) <= 24
    markdown = pages(tmp_path)[0]
    assert "## world/other, 100 training examples" in markdown
    assert "weak on small base" in markdown


def test_lower_is_better_metrics_turn_the_verdict_round(tmp_path: Path) -> None:
    folder = Fake().write(tmp_path)
    matrix = json.loads((folder / "matrix.json").read_text())
    matrix["benchmarks"][0]["metrics"][0]["higher_is_better"] = False
    write_json(folder / "matrix.json", matrix)
    result = block_of(folder).results[0]
    assert result.comparisons["tuned"].worse
    assert result.scores["plain"].rank is not None
    assert result.scores["plain"].rank[0] == 1


def test_weights_that_differ_between_methods_cannot_be_paired(tmp_path: Path) -> None:
    folder = Fake(items=30).write(tmp_path)
    from harness.engine.results.schema import read_rows, read_table

    rows = read_rows(folder)
    rows.loc[(rows["method"] == "tuned") & (rows["item"] == "i0003"), "weight"] = 2.0
    write_rows(folder, rows.to_dict("records"), read_table(folder, "samples").to_dict("records"))
    estimate = block_of(folder).results[0].comparisons["tuned"].estimate
    assert estimate.low is None
    assert "weight" in estimate.reason


def test_prompts_are_those_on_which_the_methods_differ_most(tmp_path: Path) -> None:
    model = collect(Fake().write(tmp_path))
    block = model.blocks[0]
    examples = examples_of(block, model.matrix)
    assert 1 <= len(examples) <= 24
    for example in examples:
        values = [answer.value for answer in example.answers]
        assert len(set(values)) == 2
        assert [answer.correct for answer in example.answers] == [value == 1 for value in values]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Page]:
    fake = Fake(answer=HOSTILE + "y" * 100_000, items=10, seeds=(0,))
    folder = fake.write(tmp_path_factory.mktemp("hostile"))
    matrix = json.loads((folder / "matrix.json").read_text())
    matrix["cells"][0] |= {"state": "failed", "why": HOSTILE}
    matrix["benchmarks"][0]["metrics"][0]["description"] = HOSTILE + '" onclick="x'
    (folder / "matrix.json").write_text(json.dumps(matrix).replace("untuned", "un\\ud800tuned"))
    return pages(folder)


def test_hostile_text_is_inert_in_html(hostile: tuple[str, str, Page]) -> None:
    _, web, page = hostile
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert page.suspicious == []
    assert any("{{7*7}}" in text for text in page.texts)
    assert "49" not in "".join(text for text in page.texts if "{{" in text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", web)
    assert "\\u{202e}" in web
    assert "␛" in web


def test_long_lines_are_cut_with_a_note(hostile: tuple[str, str, Page]) -> None:
    markdown, web, _ = hostile
    for report in (markdown, web):
        assert "more characters]" in html.unescape(report)
        assert max(len(line) for line in report.split("\n")) < 10_000
        assert len(report) < 1_000_000


def outside_fences(markdown: str) -> str:
    """The text that a Markdown reader interprets, by CommonMark's rule for fences."""
    kept, fence = [], ""
    for line in markdown.split("\n"):
        run = re.match(r"`{3,}", line)
        if not fence and run:
            fence = run.group()
        elif fence and re.fullmatch(f"{fence}`*\\s*", line):
            fence = ""
        elif not fence:
            kept.append(line)
    assert not fence, "a code block is never closed"
    return "\n".join(kept)


def test_hostile_text_is_inert_in_markdown(hostile: tuple[str, str, Page]) -> None:
    markdown, _, _ = hostile
    read = outside_fences(markdown)
    assert not re.search(r"(?<!\\)<[a-zA-Z/!]", read)
    assert not re.search(r"(?<!\\)\]\(", read)
    assert "www.evil" not in read
    assert "http://evil" not in read
    assert "\n# head" not in read
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", markdown)
    for table in re.findall(r"(?:^\|.*\n)+", read, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.strip().split("\n")}
        assert len(widths) == 1


def test_the_page_asks_for_nothing_from_elsewhere(tmp_path: Path) -> None:
    _, web, page = pages(Fake(items=30).write(tmp_path))
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(page.tags)
    assert "@import" not in web
    assert "url(" not in web
    assert "prefers-color-scheme: dark" in web
    assert '<svg class="front"' in web


def test_metrics_that_are_no_share_keep_their_unit(tmp_path: Path) -> None:
    """Lengths of 20 to 32 words are shown as such, never as per cent."""
    rows = table_rows(pages(Fake().write(tmp_path))[0], "## Secondary metrics")
    assert rows[0][1] == "tasks (length, lower is better)"
    assert 20 < float(rows[2][1].split(" ")[0].strip("*")) < 32
