"""What an experiment declares beforehand: its own claims, an order of its training data, and the tested contrasts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import bakeoff
from test_config import GOOD, write
from test_report import Fake

from harness.engine.config import load_experiment
from harness.engine.results.declared import declare
from harness.engine.results.schema import read_rows
from harness.errors import UserError
from harness.files import read_json, write_json
from harness.report.collect import collect
from harness.report.compose import write_report
from harness.report.findings.declared_contrasts import declared_contrasts
from harness.report.numbers.panel import difference_of
from harness.stats.families import holm

CLAIMS = """\
claims:
  - name: examples help
    source: us
    statement: Examples in the prompt give more points.
    where: {role: knowledge}
    terms: [{weight: 1, label: shots}, {weight: -1, label: base}]
    expects: {above: 0}
"""
RUN = """\
name: declared
bases: [microworld/small]
threads: 1
data: {demonstrations: microworld/curated-1k}
methods: [base, {prompting: {demonstrations: 1}, as: shots}]
benchmarks: [{knowledge: {limit: 30}}]
"""
QUALITIES = "data_quality: {better: neat, worse: raw, others: [odd]}\n"
SETS = "data: {demonstrations: {neat: microworld/curated-1k, raw: microworld/curated-1k, odd: microworld/curated-1k}}\n"


def test_an_order_of_quality_names_the_better_and_the_worse_set_and_keeps_the_others(tmp_path: Path) -> None:
    ordered = load_experiment(write(tmp_path, GOOD + QUALITIES + SETS))
    assert ordered.data_quality == ("neat", "raw", "odd")
    assert ordered.quality_order == {"better": "neat", "worse": "raw"}
    plain = load_experiment(write(tmp_path, GOOD + "data_quality: [neat, raw, odd]\n" + SETS))
    assert plain.data_quality == ordered.data_quality
    assert plain.quality_order == {}


@pytest.mark.parametrize(
    ("line", "said", "example"),
    [
        ("data_quality: {better: neat}", "names a better and a worse set", "worse: unfiltered"),
        ("data_quality: {better: neat, worst: raw}", "unknown key 'worst'", "worse"),
        ("data_quality: {better: neat, worse: neat}", "with a value twice", "distinct"),
        ("data_quality: {better: neat, worse: [raw]}", "must be text", "text"),
        ("contrasts: tuned - base", "must be a list", "contrasts: [rft - sft"),
        ("contrasts: [tuned]", "is a difference of two methods", "Write A - B"),
        ("contrasts: [tuned - bass]", "names 'bass'", "'base'"),
        ("contrasts: [base - base]", "with itself", "Write A - B"),
        ("contrasts: [tuned - base, base - tuned]", "given twice", "Keep one"),
        ("claims: nowhere.yaml", "no such claims file: 'nowhere.yaml'", "Paths start at"),
        ("claims: [a.yaml]", "must be the path of a file", "claims: my-claims.yaml"),
    ],
)
def test_a_mistake_in_a_declaration_is_one_error_with_its_line(
    tmp_path: Path, line: str, said: str, example: str
) -> None:
    file = write(tmp_path, GOOD + line + "\n")
    with pytest.raises(UserError) as caught:
        load_experiment(file)
    assert caught.value.where == f"{file}:{GOOD.count(chr(10)) + 1}"
    assert said in caught.value.what
    assert example in caught.value.fix


def test_a_label_with_a_hyphen_in_it_can_be_part_of_a_contrast(tmp_path: Path) -> None:
    text = GOOD.replace("as: tuned", "as: hot - long").replace("expert: tuned", "expert: hot - long")
    experiment = load_experiment(write(tmp_path, text + "contrasts: [hot - long - base]\n"))
    assert experiment.contrasts == (("hot - long", "base"),)


def test_a_mistake_in_a_claims_file_is_found_when_the_experiment_is_planned(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(CLAIMS.replace("weight: 1", "wait: 1"))
    done = bakeoff("plan", write(tmp_path, GOOD + "claims: mine.yaml\n"), "--store", tmp_path / "store")
    assert done.returncode == 2
    assert f"{tmp_path / 'mine.yaml'}:6: unknown key 'wait'" in done.stderr


def test_a_run_records_claims_and_contrasts_and_its_report_says_when_they_were_declared(tmp_path: Path) -> None:
    """An edit after the run is told by the report, changes no content key, and repeats no work."""
    (tmp_path / "mine.yaml").write_text(CLAIMS)

    def run(contrast: str = "shots - base") -> str:
        file = write(tmp_path, RUN + f"claims: mine.yaml\ncontrasts: [{contrast}]\n")
        done = bakeoff("run", file, "--store", tmp_path / "store")
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    run()
    declared = read_json(tmp_path / "declared.json")["declared"]
    assert [(one["contrasts"], one["scored"], one["cells"]) for one in declared] == [(["shots - base"], 0, 2)]
    assert (tmp_path / "tested_claims.yaml").read_text() == CLAIMS
    recorded = read_json(tmp_path / "digests.json")["files"]
    assert {"declared.json", "tested_claims.yaml"} <= set(recorded)
    report = (tmp_path / "report.md").read_text()
    assert "Declared before the first cell was scored: shots - base" in report
    assert "contrasts declared before the first cell was scored" in report
    assert "Every other comparison in this report is exploratory" in report
    assert "The claims of this experiment, tested on these rows" in report
    assert bakeoff("verify", tmp_path).returncode == 0
    said = bakeoff("claims", tmp_path).stdout
    assert "shots − base" in said
    assert "1 test, corrected together" in said
    keys = {one["key"] for one in read_json(tmp_path / "matrix.json")["cells"]}
    assert "Nothing to do" in run()

    (tmp_path / "mine.yaml").write_text(CLAIMS.replace("more points", "many more points"))
    assert "written again" in run()
    assert "many more points" in (tmp_path / "report.md").read_text()
    run("base - shots")
    declared = read_json(tmp_path / "declared.json")["declared"]
    assert [one["scored"] for one in declared] == [0, 2]
    report = (tmp_path / "report.md").read_text()
    assert "Declared after 2 of 2 cells had been scored: base - shots" in report
    assert "contrasts declared after 2 of 2 cells had been scored" in report
    assert "until then it was: shots - base" in report
    assert {one["key"] for one in read_json(tmp_path / "matrix.json")["cells"]} == keys


def declared_folder(folder: Path, *contrasts: tuple[str, str]) -> Path:
    Fake().write(folder)
    matrix = read_json(folder / "matrix.json")
    write_json(folder / "matrix.json", {**matrix, "contrasts": [list(pair) for pair in contrasts]})
    return folder


def test_the_declared_contrasts_on_all_primary_metrics_are_one_family(tmp_path: Path) -> None:
    """Two pairs on two primary metrics: four tests; no p is above Holm's over four, nor below the uncorrected one."""
    model = collect(declared_folder(tmp_path, ("tuned", "plain"), ("harsh", "tuned")))
    found = declared_contrasts(model.blocks, model.matrix.contrasts)
    asked = [(one.first, one.measured.metric.benchmark) for one in found]
    assert asked == [("tuned", "tasks"), ("tuned", "facts"), ("harsh", "tasks"), ("harsh", "facts")]
    rows = read_rows(tmp_path)
    means = rows[rows["metric"] == "accuracy"].groupby(["benchmark", "method"])["value"].mean()
    pointwise = [difference_of(o.measured, o.measured.panel.comparable([o.first, o.second])) for o in found]
    for one, alone, most in zip(found, pointwise, holm([one.p for one in pointwise], 4), strict=True):
        title = one.measured.metric.benchmark
        assert one.estimate.value == pytest.approx(means[title, one.first] - means[title, one.second])
        assert alone.p is not None
        assert most is not None
        assert one.adjusted is not None
        assert alone.p - 0.01 <= one.adjusted <= most
        assert one.estimate.low is not None
        assert one.estimate.high is not None
        assert (one.estimate.low >= 0 or one.estimate.high <= 0) == (one.finding != "not established")
    assert found[0].finding == "better"


def test_contrasts_whose_declaration_is_not_recorded_are_said_to_be_perhaps_chosen_afterwards(tmp_path: Path) -> None:
    folder = declared_folder(tmp_path, ("tuned", "plain"))
    report, _ = write_report(folder)
    assert "they may have been chosen after the results" in report.read_text()
    declare(folder, [("tuned", "plain")], 3, 24)
    declare(folder, [("tuned", "plain")], 24, 24)
    assert len(json.loads((folder / "declared.json").read_text())["declared"]) == 1
    write_report(folder)
    assert "Declared after 3 of 24 cells had been scored: tuned - plain" in report.read_text()
    assert "contrasts declared after 3 of 24 cells had been scored" in report.read_text()


def test_an_experiment_without_contrasts_has_no_such_section(tmp_path: Path) -> None:
    report, _ = write_report(Fake().write(tmp_path))
    declare(tmp_path, [], 0, 24)
    assert "Declared contrasts" not in report.read_text()
    assert "xploratory" not in report.read_text()
    assert not (tmp_path / "declared.json").exists()
