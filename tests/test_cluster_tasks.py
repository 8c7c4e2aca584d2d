"""Tasks for other machines: what a plan is divided into, what one does where it runs, and what it refuses."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import outside
import pytest
from command_line import bakeoff
from conftest import ROOT

from harness.engine.cluster_tasks import ClusterTask, cluster_tasks, order_of, perform
from harness.engine.config import load_experiment
from harness.engine.plan import Plan, make_plan
from harness.engine.ray_cluster import Cluster, cluster_of
from harness.engine.states import state_of
from harness.engine.store.store import Store
from harness.engine.tuning import plans
from harness.errors import UserError

TWO_PROXIES = "[base, lora, {proxy_tuning: {expert: sft}, as: one}, {proxy_tuning: {expert: sft, alpha: 2.0}, as: two}]"


@pytest.fixture
def planned(outside_folder: Path) -> tuple[Plan, Store]:
    """A plan of two artifacts with one cell each, and an empty store that exists."""
    file = outside.experiment(outside_folder, methods="[outside, {outside: {strength: 2.0}, as: two}]")
    (outside_folder / "store").mkdir()
    store = Store(outside_folder / "store")
    return make_plan(load_experiment(file), store.root), store


def test_an_artifact_with_its_cells_is_a_task_and_so_is_one_that_others_are_built_on(tmp_path: Path) -> None:
    """The expert sft is on the small base, where no cell scores it; both proxies wait for it, and lora for nothing."""
    settings = [f"methods={TWO_PROXIES}", "reference=lora"]
    plan = make_plan(load_experiment(ROOT / "demo.yaml", settings), tmp_path)
    found = cluster_tasks(plan, Store(tmp_path))
    names = [task.title.split()[0] for task in found]
    assert sorted(names) == ["base", "lora", "one", "sft", "two"]
    assert names.index("sft") < min(names.index("one"), names.index("two"))
    tasks = {task.title.split()[0]: task for task in found}
    assert not tasks["sft"].scores
    assert tasks["sft"].needs == tasks["lora"].needs == ()
    assert tasks["one"].needs == tasks["two"].needs == (tasks["sft"].key,)
    assert {name: len(task.cells) for name, task in tasks.items()} == {
        "base": 2,
        "lora": 2,
        "sft": 1,
        "one": 2,
        "two": 2,
    }
    assert {task.gpus for task in tasks.values()} == {0}


def test_tasks_that_are_performed_give_the_rows_of_a_run(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    order = order_of(plan, store)
    done = [perform(order, task) for task in cluster_tasks(plan, store)]
    assert [(one.fitted, one.evaluated, one.refused) for one in done] == [(1, 1, ""), (1, 1, "")]
    assert cluster_tasks(plan, store) == []
    file, folder = plan.experiment.file, store.root.parent
    for place in ("store", "fresh"):
        assert bakeoff("run", file, "--store", folder / place, "--out", folder / f"{place}-out").returncode == 0
    assert (folder / "store-out/rows.parquet").read_bytes() == (folder / "fresh-out/rows.parquet").read_bytes()


def test_a_task_follows_the_text_of_the_run_and_not_that_of_a_file_changed_since(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    plan.experiment.file.write_text("bases: []")
    order, (first, _) = order_of(plan, store), cluster_tasks(plan, store)
    assert perform(order, first).refused == ""
    assert state_of(plan.cells[0], store).name == "done"


def test_tasks_of_an_experiment_that_tunes_are_those_of_the_trials_and_then_its_own(outside_folder: Path) -> None:
    """Of two trials the second is drawn; the setting that wins is a row of the second stage alone."""
    file = outside.experiment(outside_folder, extra="tune: {trials: 2}\nbaseline: outside\n")
    (outside_folder / "store").mkdir()
    store, scored = Store(outside_folder / "store"), []
    for stage, plan in enumerate(plans(load_experiment(file), store.root)):
        done = [perform(order_of(plan, store, stage), task) for task in cluster_tasks(plan, store)]
        scored.append((sum(one.evaluated for one in done), [one.refused for one in done if one.refused]))
        assert {state_of(cell, store).name for cell in plan.cells} == {"done"}
    assert scored[0] == (2, [])
    assert scored[1] == (len(plan.cells), [])


def test_what_fails_in_a_task_is_recorded_in_the_store_with_its_reason(outside_folder: Path) -> None:
    file = outside.experiment(outside_folder, methods="[{outside: {fails: no luck}}]")
    plan, store = make_plan(load_experiment(file), outside_folder), Store(outside_folder)
    assert perform(order_of(plan, store), cluster_tasks(plan, store)[0]).refused == ""
    assert str(state_of(plan.cells[0], store)) == "failed: RuntimeError: no luck"


def test_a_process_that_is_told_to_end_records_no_failure(
    planned: tuple[Plan, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's own handler raises SystemExit within the fit."""
    plan, store = planned
    order, task = order_of(plan, store), cluster_tasks(plan, store)[0]
    fit = f"{type(plan.cells[0].node.method).__module__}.Outside.fit"
    monkeypatch.setattr(fit, lambda self, *given: os.kill(os.getpid(), signal.SIGTERM))
    if (child := os.fork()) == 0:
        signal.signal(signal.SIGTERM, lambda *given: sys.exit(1))
        perform(order, task)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGTERM
    assert state_of(plan.cells[0], store).name == "to run"


def changed(task: ClusterTask, **fields: object) -> ClusterTask:
    return replace(task, key="0" * 24, document={**task.document, **fields})


def test_a_machine_with_other_code_refuses_and_names_the_field(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    order, task = order_of(plan, store), cluster_tasks(plan, store)[0]
    refused = perform(order, changed(task, libraries={**task.document["libraries"], "python": "3.9.1"})).refused
    here = task.document["libraries"]["python"]
    assert f"libraries.python: 3.9.1 -> {here}. Install the same bakeoff" in refused
    wanted = replace(task.cells[0], key="0" * 24, document={**task.cells[0].document, "version": 7})
    assert "version: 7 -> 1" in perform(order, replace(task, cells=(wanted,))).refused
    assert not list(store.root.glob("*/*/done"))


def test_a_machine_without_the_store_or_the_cell_refuses(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    order, task = order_of(plan, store), cluster_tasks(plan, store)[0]
    assert "the store of the run is not on this machine" in perform(replace(order, store="/nowhere"), task).refused
    lost = replace(task.cells[0], spot="(('base', 'other'),)")
    assert "('base', 'other')" in perform(order, replace(task, cells=(lost,))).refused


def test_the_demands_of_a_task_are_those_given_or_those_of_the_experiment() -> None:
    task = ClusterTask("sft", "key", {}, (), True, (), gpus=2)
    assert cluster_of("auto", "") == Cluster("auto")
    assert Cluster("auto").options(task, 4) == {"num_gpus": 2, "num_cpus": 4, "max_retries": 3, "name": "sft"}
    given = cluster_of("head:6379", "gpus=0.5,memory=1.5,cpus=2,retries=0")
    assert given.address == "head:6379"
    wanted = {"num_gpus": 0.5, "num_cpus": 2, "memory": 1_500_000_000, "max_retries": 0, "name": "sft"}
    assert given.options(task, 4) == wanted


@pytest.mark.parametrize(
    ("demands", "message"),
    [
        ("gpu=1", "--ray-task names 'gpu'\n  Did you mean 'gpus'?"),
        ("gpus", "--ray-task gpus is '', which is not a number of 0 or more"),
        ("memory=16GB", "--ray-task memory is '16GB', which is not a number of 0 or more"),
        ("memory=nan", "--ray-task memory is 'nan'"),
        ("retries=-1", "--ray-task retries is '-1', which is not a whole number of 0 or more"),
        ("retries=0.5", "which is not a whole number"),
        ("gpus=1.5", "--ray-task gpus is 1.5, and Ray divides no more than one GPU"),
        ("address=here", "--ray-task names 'address'"),
    ],
)
def test_a_demand_that_cannot_be_is_refused(demands: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        cluster_of("auto", demands)
    assert message in str(refused.value)


def test_options_of_a_cluster_that_contradict_others_or_name_none_are_refused(
    outside_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = outside.experiment(outside_folder)
    monkeypatch.setitem(sys.modules, "ray", None)  # as where the extra is not installed
    for words, message in (
        (["--ray-task", "gpus=1"], "--ray-task is given without --ray"),
        (["--ray", "auto", "--workers", "2"], "--ray gives the work to a cluster, and --workers and --slurm to others"),
        (["--ray", "local"], "--ray 'local' names no cluster"),
        (["--ray", "auto"], "--ray needs the library ray\n  Install it: pip install 'bakeoff[ray]'"),
    ):
        done = bakeoff("run", file, "--store", outside_folder / "store", *words)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert not (outside_folder / "store" / "artifacts").exists()
