"""`bakeoff compare`: two methods of a folder, two runs, and what cannot be compared."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_line import bakeoff
from test_report import Fake, block_of

from harness.errors import UserError
from harness.files import read_json, write_json
from harness.report.compare import Pairing, two_methods, two_runs
from harness.stats.families import max_t

SKILLS = {"plain": (0.3, 0.7), "tuned": (0.8, 0.69), "harsh": (0.6, 0.3)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Fake(skills=SKILLS, items=60).write(tmp_path_factory.mktemp("compare") / "run")


def only(pairings: list[Pairing]) -> Pairing:
    (pairing,) = pairings
    return pairing


def test_a_method_against_the_baseline_has_the_reports_own_estimates(folder: Path) -> None:
    """The same pairs, the same pooled seed variance over all methods, so the same pointwise interval and raw p."""
    report = block_of(folder)
    pairing = only(two_methods(folder, "tuned", "plain"))
    shown = {(r.metric.title, r.group): r for r in pairing.results}
    tested = [r for r in (*report.results, *report.groups) if not r.group or (r.metric.by_group and r.metric.primary)]
    assert set(shown) == {(r.metric.title, r.group) for r in tested}
    for result in tested:
        own = shown[result.metric.title, result.group]
        mine, theirs = own.comparisons["tuned"], result.comparisons["tuned"]
        assert (mine.estimate.value, mine.estimate.p) == (theirs.estimate.value, theirs.estimate.p)
        assert mine.pointwise == theirs.pointwise
        assert own.scores["tuned"].estimate == result.scores["tuned"].estimate


def test_the_correction_counts_the_pairs_that_could_have_been_asked(folder: Path) -> None:
    """Three methods are three pairs: on two primary metrics six tests, on two groups of one of them six more."""
    pairing = only(two_methods(folder, "tuned", "harsh"))
    for results in (pairing.block.results, pairing.block.groups):
        family = [r for r in results if r.family]
        assert [r.family for r in family] == [6, 6]
        raw = [r.comparisons["tuned"].estimate for r in family]
        assert [r.comparisons["tuned"].adjusted for r in family] == list(max_t(raw, [0, 1], 6).adjusted)
    (length,) = (r for r in pairing.block.results if not r.metric.primary)
    assert length.comparisons["tuned"].adjusted is None


def test_the_difference_is_the_first_minus_the_second(folder: Path) -> None:
    forth = [r.comparisons["tuned"].estimate for r in only(two_methods(folder, "tuned", "harsh")).results]
    back = [r.comparisons["harsh"].estimate for r in only(two_methods(folder, "harsh", "tuned")).results]
    for one, other in zip(forth, back, strict=True):
        assert one.value == pytest.approx(-(other.value or 0))
        assert one.p == pytest.approx(other.p)


def test_the_table_says_who_how_much_how_surely_and_what_next(folder: Path) -> None:
    before = {path.name for path in folder.iterdir()}
    done = bakeoff("compare", folder, "tuned", "harsh")
    assert done.returncode == 0, done.stderr
    pairing = only(two_methods(folder, "tuned", "harsh"))
    for result in pairing.results:
        name = ", ".join(part for part in (result.metric.title, result.group) if part)
        line = next(line for line in done.stdout.split("\n") if re.match(rf"│ {name} +│", line))
        if result.percent:
            assert f"{100 * (result.scores['harsh'].estimate.value or 0):.1f}" in line
    assert "tuned − harsh" in done.stdout
    assert "better" in done.stdout
    assert "Nothing was written." in done.stdout
    assert f"Next: bakeoff export {folder}" in done.stdout.replace("\n", "")
    assert {path.name for path in folder.iterdir()} == before


def test_at_one_seed_it_speaks_of_these_trained_runs_only(tmp_path: Path, folder: Path) -> None:
    single = Fake(skills=SKILLS, items=30, seeds=(0,)).write(tmp_path)
    assert "trained runs only" in bakeoff("compare", single, "tuned", "harsh").stdout
    assert "trained runs only" not in bakeoff("compare", folder, "tuned", "harsh").stdout


def test_two_runs_are_paired_by_label_on_the_items_and_seeds_in_common(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeds 0-2 and 1-3 share two; 60 and 40 items share 40; `harsh` and `other` stand in one run each."""
    skills = {"plain": (0.3, 0.7), "tuned": (0.2, 0.69), "other": (0.5, 0.5)}
    later = Fake(skills=skills, items=40, seeds=(1, 2, 3)).write(tmp_path / "later")
    pairing = only(two_runs(folder, later))
    assert [name for name, *_ in pairing.pairs] == ["plain", "tuned"]
    tasks = pairing.block.results[0].comparisons["tuned:1"]
    assert (tasks.items, tasks.estimate.seeds) == (40, 2)
    assert (tasks.estimate.value or 0) > 0.3
    assert pairing.block.tests == 4
    same = pairing.block.results[0].comparisons["plain:1"]
    assert same.estimate.value == 0  # `plain` gives the same answers in both runs
    assert (same.better, same.worse) == (False, False)
    monkeypatch.chdir(folder)
    assert only(two_runs(Path("."), later)).heads == (folder.name, "later")
    said = " ".join(pairing.notes)
    assert "Only in run, and not compared: harsh." in said
    assert "Only in later, and not compared: other." in said
    assert "tasks: 40 items in common, of 60 and 40." in said


def test_settings_and_versions_that_differ_between_runs_are_told(tmp_path: Path, folder: Path) -> None:
    later = Fake(skills=SKILLS, items=60).write(tmp_path / "later")
    matrix = read_json(later / "matrix.json")
    matrix["methods"][1]["fields"]["rate"] = 0.2
    matrix["benchmarks"][1]["version"] = 7
    write_json(later / "matrix.json", matrix)
    done = bakeoff("compare", folder, later)
    assert done.returncode == 0, done.stderr
    assert "tuned differs in its fields (first -> second; None may be a new field): rate: 0.1 -> 0.2." in done.stdout
    assert "facts is not compared: facts version 2 in the first, facts version 7 in the second." in done.stdout
    assert "facts: accuracy" not in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tund", "plain"], ["it has no method labelled 'tund'", "Did you mean 'tuned'?"]),
        (["tuned", "plan"], ["it has no method labelled 'plan'", "Did you mean 'plain'?"]),
        (["tuned", "tuned"], ["'tuned' is compared with itself"]),
        (["tuned"], ["'tuned' is compared with nothing", "bakeoff compare FOLDER A B"]),
        (["tests"], ["tests: it is not a results folder"]),
    ],
)
def test_what_cannot_be_compared_is_the_users_mistake(words: list[str], said: list[str], folder: Path) -> None:
    done = bakeoff("compare", folder, *words)
    assert done.returncode == 2, done.stdout
    assert all(word in done.stderr for word in said), done.stderr


def test_a_misspelt_folder_is_told_the_nearest(folder: Path) -> None:
    done = bakeoff("compare", folder.parent / "runn", "tuned", "plain")
    assert done.returncode == 2
    assert "Did you mean 'run'?" in done.stderr


def test_runs_with_nothing_in_common_are_refused(tmp_path: Path, folder: Path) -> None:
    elsewhere = Fake(skills=SKILLS, items=20, seeds=(7, 8)).write(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="no seed in common"):
        two_runs(folder, Fake(skills={"tuned": (0.5, 0.5)}, items=20, seeds=(7, 8)).write(tmp_path / "seeds"))
    matrix = read_json(elsewhere / "matrix.json")
    write_json(elsewhere / "matrix.json", {**matrix, "bases": ["world/other"]})
    with pytest.raises(UserError, match="no base model of the same name"):
        two_runs(folder, elsewhere)


def test_a_label_is_neither_markup_nor_an_escape_sequence(tmp_path: Path) -> None:
    label = "[red]a_b[-red] \x1b[2J"
    folder = Fake(skills={"plain": (0.3, 0.7), label: (0.8, 0.7)}, items=20, seeds=(0,)).write(tmp_path)
    said = bakeoff("compare", folder, label, "plain").stdout
    assert "[red]a_b[-red] ␛[2J" in said
    assert "\x1b" not in said
