"""Plan, store and run, on plugins of another package: what is done stays done, what fails is kept apart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import outside
import pytest
from conftest import ROOT
from rich.console import Console

from harness.engine import registry
from harness.engine.config import load_experiment
from harness.engine.cost import Stopwatch
from harness.engine.plan import Plan, make_plan
from harness.engine.progress import Progress
from harness.engine.results.schema import read_rows
from harness.engine.results.write import write_results
from harness.engine.run import Tally, run_plan
from harness.engine.states import explain, find_cells, state_of
from harness.engine.store import keys
from harness.engine.store.store import Store, StoreUnusable
from harness.errors import UserError
from harness.files import read_sealed


@pytest.fixture
def folder(outside_folder: Path) -> Path:
    return outside_folder


def planned(folder: Path, **options: str) -> tuple[Plan, Store]:
    return make_plan(load_experiment(outside.experiment(folder, **options)), folder / "store"), Store(folder / "store")


def go(plan: Plan, store: Store, **options: bool) -> tuple[Tally, str]:
    heard = StringIO()
    with Progress(Console(file=heard, width=200)) as progress:
        return run_plan(plan, store, progress, **options), heard.getvalue()


def states(plan: Plan, store: Store) -> list[str]:
    return [str(state_of(cell, store)) for cell in plan.cells]


def test_entry_points_of_another_package_are_found_listed_and_run(folder: Path) -> None:
    assert "outside" in registry.plugin_names("methods")
    assert registry.summary("benchmarks", "outside_bench") == "A benchmark of another package."
    plan, store = planned(folder)
    assert go(plan, store)[0].evaluated == 1
    assert states(plan, store) == ["done"]


def test_a_second_run_finds_everything_and_does_nothing(folder: Path) -> None:
    plan, store = planned(folder, extra="seeds: [0, 1]")
    assert go(plan, store)[0] == Tally(fitted=2, evaluated=2)
    assert go(plan, store)[0] == Tally(found=2)


def test_equal_work_under_two_labels_is_done_once(folder: Path) -> None:
    plan, store = planned(folder, methods="[outside, {outside: {}, as: twin}]")
    assert go(plan, store)[0] == Tally(fitted=1, evaluated=1)
    assert states(plan, store) == ["done", "done"]


def test_a_failed_cell_is_recorded_and_stops_no_other(folder: Path) -> None:
    plan, store = planned(folder, methods="[{outside: {fails: out of luck}, as: bad}, outside]")
    tally, heard = go(plan, store)
    assert states(plan, store) == ["failed: RuntimeError: out of luck", "done"]
    assert [cell.entry.label for cell, _ in tally.failed] == ["bad"]
    assert "Traceback" not in heard
    assert "out of luck" in heard


def test_a_failure_is_kept_until_it_is_asked_to_be_tried_again(folder: Path) -> None:
    plan, store = planned(folder, benchmarks="[{outside_bench: {breaks_at: 3}}]")
    go(plan, store)
    assert states(plan, store) == ["failed: RuntimeError: the benchmark broke"]
    assert go(plan, store)[0].evaluated == 0
    plan.cells[0].column.benchmark.__dict__["breaks_at"] = -1
    assert go(plan, store, retry_failed=True)[0].evaluated == 1
    assert states(plan, store) == ["done"]


def test_out_of_memory_halves_the_micro_batch_and_the_ledger_says_so(folder: Path) -> None:
    plan, store = planned(folder, methods="[{outside: {memory: 4}}]")
    _, heard = go(plan, store)
    assert states(plan, store) == ["done"]
    assert store.cost("artifacts", plan.cells[0].node.key)["micro_batch"] == 4
    assert "out of memory, trying again with 8 rows" in heard
    hopeless, _ = planned(folder, methods="[{outside: {memory: -1}}]")
    go(hopeless, store)
    assert "out of memory even with one row" in states(hopeless, store)[0]


def test_rows_are_sorted_and_equal_results_are_equal_bytes(folder: Path) -> None:
    plan, store = planned(folder, extra="seeds: [1, 0]")
    go(plan, store)
    write_results(plan, store, folder / "one")
    backwards, other = (
        make_plan(load_experiment(outside.experiment(folder, extra="seeds: [0, 1]")), folder / "other"),
        Store(folder / "other"),
    )
    go(backwards, other)
    write_results(backwards, other, folder / "two")
    for name in ("rows.parquet", "samples.parquet"):
        assert (folder / "one" / name).read_bytes() == (folder / "two" / name).read_bytes()
    rows = read_rows(folder / "one")
    assert len(rows) == 16
    assert list(rows["seed"]) == [0] * 8 + [1] * 8


def test_the_axes_of_data_give_each_cell_its_own_rows_and_fit_once_what_takes_none(folder: Path) -> None:
    """`outside` takes no data: one artifact a seed, shown at each of the four choices of data."""
    for name in ("good", "other"):
        lines = [json.dumps({"prompt": f"ask {at}", "completion": f"{name} {at}"}) for at in range(6)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    plan, store = planned(
        folder,
        methods="[outside, counting]",
        extra="data_sizes: [2, 4]\ndata_quality: [good, other]\n"
        "data: {demonstrations: {good: ./good.jsonl, other: ./other.jsonl}}\nseeds: [0, 1]",
    )
    assert len(plan.cells) == 2 * 4 * 2
    tally, _ = go(plan, store)
    assert (tally.fitted, tally.failed) == (2 + 8, [])
    write_results(plan, store, folder / "out")
    rows = read_rows(folder / "out")
    least = rows.groupby(["method", "data_quality", "data_size"])["value"].min() // 1
    assert least["counting"].to_dict() == {("good", 2): 2, ("good", 4): 4, ("other", 2): 102, ("other", 4): 104}
    assert set(least["outside"]) == {1.0}
    assert len(least["outside"]) == 4
    assert run_plan(plan, store, Progress(Console(file=StringIO()))).fitted == 0


def test_explain_names_the_field_that_made_a_cell_stale(folder: Path) -> None:
    plan, store = planned(folder)
    go(plan, store)
    changed, _ = planned(folder, methods="[{outside: {strength: 2.0}}]")
    lines = "\n".join(explain(find_cells(changed.cells, "outside/outside_bench/0")[0], store))
    assert "state     to run" in lines
    assert "fields.strength: 1.0 -> 2.0" in lines
    with pytest.raises(UserError, match="no cell is called 'outsid'"):
        find_cells(changed.cells, "outsid")


def test_what_has_no_done_marker_is_made_again_and_leftovers_are_swept(folder: Path) -> None:
    plan, store = planned(folder)
    go(plan, store)
    (store.folder("outcomes", plan.cells[0].key) / "done").unlink()
    left = store.root / "temporary" / f"{plan.cells[0].key}.99999"
    left.mkdir(parents=True)
    assert states(plan, store) == ["to run"]
    assert go(plan, store)[0] == Tally(evaluated=1)
    assert not left.exists()


def test_a_cell_that_another_process_makes_is_shown_as_running(folder: Path) -> None:
    plan, store = planned(folder)
    with store.lock(plan.cells[0].node.key, lambda who: None):
        assert states(plan, Store(store.root)) == [f"running: process {os.getpid()} on {os.uname().nodename}"]
    assert states(plan, store) == ["to run"]


def test_a_run_in_a_given_order_begins_with_what_is_its_turn(folder: Path) -> None:
    plan, store = planned(folder, extra="seeds: [0, 1, 2, 3]")
    order: list[str] = []

    class Heard(Progress):
        def finished(self, title: str, identity: str = "") -> None:
            order.append(title[-1])

    with Heard(Console(file=StringIO())) as progress:
        keys = [node.key for node, _ in plan.groups()]
        assert run_plan(plan, store, progress, order=keys[::-1], turn=5) == Tally(fitted=4, evaluated=4)
    assert order == ["2", "3", "1", "0"]


def test_what_another_process_makes_is_left_for_last_so_that_two_share_the_work(folder: Path) -> None:
    """The other process holds the first artifact until the second is done here; then it gives up, unfinished."""
    plan, store = planned(folder, extra="seeds: [0, 1]")
    first, second = (cell.node.key for cell in plan.cells)
    elsewhere = Store(store.root)
    order = []

    class Heard(Progress):
        def finished(self, title: str, identity: str = "") -> None:
            order.append(title)
            if len(order) == 1:
                held.__exit__(None, None, None)
            super().finished(title, identity)

    held = elsewhere.lock(first, lambda who: None)
    held.__enter__()
    with Heard(Console(file=StringIO())) as progress:
        assert run_plan(plan, store, progress) == Tally(fitted=2, evaluated=2)
    assert order == ["outside/outside_bench/1", "outside/outside_bench/0"]
    assert store.done("artifacts", second)


def test_a_full_disk_ends_the_run_with_a_message_and_keeps_what_is_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, store = planned(folder, extra="seeds: [0, 1]")
    first = plan.cells[0].node.key

    def full(self: Store, area: Any, key: str, *rest: Any) -> None:
        if area == "artifacts" and key != first:
            raise OSError(28, "No space left on device")
        original(self, area, key, *rest)

    original = Store._publish
    monkeypatch.setattr(Store, "_publish", full)
    with pytest.raises(StoreUnusable, match=r"(?s)store cannot be written.*Free some space"):
        go(plan, store)
    monkeypatch.undo()
    assert store.done("outcomes", plan.cells[0].key)
    assert not store.failure(plan.cells[1].node.key)


def test_an_interrupted_fit_leaves_nothing_half_done(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, store = planned(folder)

    def interrupt(self: Stopwatch) -> Stopwatch:
        raise KeyboardInterrupt

    monkeypatch.setattr(Stopwatch, "__enter__", interrupt)
    with pytest.raises(KeyboardInterrupt):
        go(plan, store)
    assert states(plan, store) == ["to run"]
    assert not list((store.root / "temporary").iterdir())


def test_a_lock_that_is_let_go_while_its_owner_is_read_is_no_error(tmp_path: Path) -> None:
    """The owner's file goes before the lock does."""
    store = Store(tmp_path)
    with store.lock("key", print):
        for owner in (tmp_path / "locks").glob("*.owner"):
            owner.unlink()
        assert Store(tmp_path).holder("key") == "another process"


def test_a_failure_is_whole_when_it_is_read_and_none_where_it_was_forgiven(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.failure("key") is None
    store.fail("key", "why", "detail")
    assert store.failure("key") == "why"
    assert [path.name for path in (tmp_path / "failures").iterdir()] == ["key.json"]
    store.forgive("key")
    assert store.failure("key") is None


def test_a_failing_artifact_is_tried_once_however_many_stand_on_it(folder: Path) -> None:
    plan, store = planned(folder, methods='[{outside: {fails: "no"}}, {outside: {fails: "no"}, as: again}]')
    go(plan, store)
    tried: list[str] = []
    fail = store.fail
    store.fail = lambda key, why, detail: (tried.append(key), fail(key, why, detail))[1]  # type: ignore[method-assign]
    go(plan, store, retry_failed=True)
    assert len(tried) == len(set(tried)) == 1


def test_a_method_inside_another_is_in_its_key(tmp_path: Path) -> None:
    """`tune` is a field, not an artifact that it stands on: its sources and libraries decide the bytes all the same."""
    text = (
        "name: inside\nbases: [microworld/small]\nbenchmarks: [{stories: {limit: 1}}]\nseeds: [0]\n"
        "data: {demonstrations: microworld/curated-1k, problems: microworld/stories}\n"
        "methods: [base, {rft: {samplers: [sft], tune: {lora: {rank: 2}}}}]\n"
    )
    (tmp_path / "inside.yaml").write_text(text)
    plan = make_plan(load_experiment(tmp_path / "inside.yaml"), tmp_path / "store")
    (node,) = {cell.node.key: cell.node for cell in plan.cells if cell.entry.label == "rft"}.values()
    assert any("lora" in name for name in node.document["source"])
    assert "peft" in node.document["libraries"]


def test_two_entries_of_one_method_are_told_apart_while_they_are_fitted(tmp_path: Path) -> None:
    """An artifact that only another is made from has the name of its method."""
    text = (
        "name: two\nbases: [microworld/small]\nbenchmarks: [{stories: {limit: 1}}]\nseeds: [0]\n"
        "data: {demonstrations: microworld/curated-1k, preferences: microworld/call-or-ask}\n"
        "methods: [{sft: {epochs: 1}, as: once}, {sft: {epochs: 2}, as: twice}, {dpo: {start: sft}, as: pairs}]\n"
    )
    (tmp_path / "two.yaml").write_text(text)
    plan = make_plan(load_experiment(tmp_path / "two.yaml"), tmp_path / "store")
    titles = {node.title for cell in plan.cells for node in (cell.node, *cell.node.beneath.values())}
    assert titles == {f"{name} on microworld/small, seed 0" for name in ("once", "twice", "pairs", "sft")}


def test_a_size_that_no_set_has_is_the_users_error(folder: Path) -> None:
    answer = {"role": "assistant", "content": "a"}
    rows = [{"messages": [{"role": "user", "content": f"q{at}"}, answer]} for at in range(5)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UserError, match="names 9 rows, and the largest set has 5"):
        planned(folder, extra="data: {demonstrations: ./rows.jsonl}\ndata_sizes: [3, 9]\n")


def test_a_key_follows_code_fields_and_weights_but_no_comment_or_docstring(tmp_path: Path) -> None:
    file = tmp_path / "plugin.py"
    digests = []
    for text in ('"""One."""\nx = 1\n', '"""Two."""\n# why\nx = 1\n', '"""One."""\nx = 2\n'):
        file.write_text(text)
        keys.source_digests.cache_clear()
        digests.append(keys.source_digests(file)["plugin"])
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("file", "old", "new", "follows"),
    [
        ("methods/lora.py", '"rank of each update"', '"the rank"', False),
        ("methods/lora.py", "quick=3", "quick=2", False),
        ("methods/lora.py", "setting(8,", "setting(4,", True),
        ("methods/lora.py", "rslora: bool", "rslora: int", True),
        ("methods/dpo.py", 'f"beta is {self.beta}"', 'f"beta: {self.beta:.2f}"', False),
        ("methods/dpo.py", "if self.beta <= 0:", "if self.beta < 0:", True),
        ("harness/errors.py", "Did you mean", "Perhaps you mean", False),
        ("harness/errors.py", "cutoff=0.5", "cutoff=0.6", True),
        ("benchmarks/call_or_ask.py", "share answered with a question", "share of questions", False),
        ("benchmarks/call_or_ask.py", '"asked"', '"questioned"', True),
    ],
)
def test_a_key_follows_defaults_and_rules_but_no_help_and_no_message(
    tmp_path: Path, file: str, old: str, new: str, follows: bool
) -> None:
    copy = tmp_path / file
    copy.parent.mkdir()
    text = (ROOT / file).read_text("utf-8")
    assert old in text
    digests = []
    for version in (text, text.replace(old, new)):
        copy.write_text(version, "utf-8")
        keys.source_digests.cache_clear()
        digests.append(keys.source_digests(copy)[file.removesuffix(".py").replace("/", ".")])
    assert (digests[0] != digests[1]) == follows


def test_reading_sources_for_a_key_imports_no_heavy_library() -> None:
    script = (
        "import sys; from harness.engine import registry; from harness.engine.store import keys\n"
        "for name in registry.plugin_names('methods'): keys.source_digests(registry.source_file('methods', name))\n"
        "print(*sorted({'torch', 'trl', 'peft', 'pyreft'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_key_follows_what_is_inside_functions_and_no_order_of_a_set(tmp_path: Path) -> None:
    """Sets of words are ordered anew in every process."""
    file = tmp_path / "plugin.py"
    command = [sys.executable, "-c", "import sys, pathlib; from harness.engine.store import keys; "
               "print(keys.source_digests(pathlib.Path(sys.argv[1])))", str(file)]  # fmt: skip
    found = []
    for number in ("1", "1", "2"):
        inner = f"def f(x):\n    def g(y):\n        return y in {{'a', 'b', 'c', 'd'}} or {number}\n    return g(x)\n"
        file.write_text(inner)
        environment = {**os.environ, "PYTHONHASHSEED": str(len(found) + 1)}
        found.append(subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True).stdout)
    assert found[0] == found[1] != found[2]


def test_a_module_s_digest_that_is_kept_on_disk_follows_its_source(tmp_path: Path, monkeypatch: Any) -> None:
    """A kept digest holds for one source alone; one that is damaged is computed again."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    module = tmp_path / "methods" / "thing.py"
    module.parent.mkdir()

    def digest(source: str) -> str:
        module.write_text(source)
        keys._read.cache_clear()
        keys.source_digests.cache_clear()
        return keys.source_digests(module)["methods.thing"]

    first = digest("x = 1\n")
    (kept,) = module.parent.rglob("*.digest")
    recorded = kept.read_text()
    assert first in recorded
    assert digest("x = 2\n") != first
    kept.write_text(recorded)
    assert digest("x = 1  # a comment does not count\n") == first
    for damaged in ("", "{", "[]", recorded[:-9], '{"a": 1}'):
        kept.write_text(damaged)
        assert digest("x = 1\n") == first


def test_a_plugins_key_holds_the_sources_that_it_imports_even_inside_functions() -> None:
    digests = keys.source_digests(registry.source_file("methods", "base"))
    assert {
        "methods.base",
        "harness.method",
        "harness.policy.policy",
        "harness.policy.sampling",
        "harness.policy.noise",
    } <= set(digests)
    assert not any(name.startswith(("harness.report", "harness.cli", "benchmarks.")) for name in digests)


def test_a_key_follows_what_lies_in_a_folder_that_a_field_names(folder: Path) -> None:
    """Same path, other bytes: another artifact. A folder that is not there is refused before anything runs."""
    (folder / "judge" / "deep").mkdir(parents=True)
    methods = f"[{{outside: {{reads: {folder / 'judge'}}}}}]"
    digests = []
    for text in ("one", "two", "one"):
        (folder / "judge" / "deep" / "weights.bin").write_text(text * 2)
        digests.append(planned(folder, methods=methods)[0].cells[0].node.document["folders"]["reads"])
    assert digests[0] == digests[2] != digests[1]
    assert "folders" not in planned(folder)[0].cells[0].node.document
    with pytest.raises(UserError, match="no such folder"):
        planned(folder, methods=f"[{{outside: {{reads: {folder / 'nowhere'}}}}}]")


def test_a_failure_record_holds_the_traceback_for_developers(folder: Path) -> None:
    plan, store = planned(folder, methods="[{outside: {fails: out of luck}}]")
    go(plan, store)
    record = read_sealed(store.failure_path(plan.cells[0].node.key))
    assert "Traceback" in record["detail"]
    assert record["why"] == "RuntimeError: out of luck"
