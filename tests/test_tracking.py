"""Trackers get the curves of fits and the matrix, where the experiment names them; results do not depend on it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from command_line import Done, bakeoff, in_a_process_of_its_own
from conftest import ROOT
from transformers import TrainerCallback
from transformers import trainer as transformers_trainer

from harness.engine import config
from harness.engine.config import load_experiment
from harness.engine.plan import make_plan
from harness.training import trackers

SETTINGS = ["bases=[microworld/small]", "data_sizes=[40]", "knowledge.limit=10", "instruction_following.limit=4",
            "methods=[base, {sft: {learning_rate: 1e-3, updates: 3}, as: tuned}]", "reference=tuned"]  # fmt: skip


def run(folder: Path, place: str, *report_to: str, command: Callable[..., Done] = bakeoff) -> Done:
    settings = [*SETTINGS, f"report_to=[{', '.join(report_to)}]"]
    words = [word for setting in settings for word in ("--set", setting)]
    places = ["--store", folder / place, "--out", folder / f"{place}-out"]
    done = command("run", ROOT / "demo.yaml", *words, *places)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@cache
def tuned_key() -> str:
    """The content key of the artifact that is trained."""
    with tempfile.TemporaryDirectory() as store:
        plan = make_plan(load_experiment(ROOT / "demo.yaml", SETTINGS), Path(store))
    return next(cell.node.key for cell in plan.cells if cell.entry.label == "tuned")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store and results of a run without trackers."""
    folder = tmp_path_factory.mktemp("plain")
    run(folder, "store")
    return folder


def check_equal_weights(store: Path, plain: Path) -> None:
    key = tuned_key()
    file = next(path.name for path in (plain / "store/artifacts" / key).glob("*.safetensors"))
    assert (store / "artifacts" / key / file).read_bytes() == (plain / "store/artifacts" / key / file).read_bytes()
    rows = [folder / "rows.parquet" for folder in (store.parent / f"{store.name}-out", plain / "store-out")]
    assert rows[0].read_bytes() == rows[1].read_bytes()


class Recorder(TrainerCallback):
    """Stands for a tracker: what it is told, in order."""

    told: list[tuple[Any, ...]]
    breaks = ""

    def __init__(self, run: trackers.Run) -> None:
        self.tell("open", run.name, run.project)

    def tell(self, *what: Any) -> None:
        self.told.append(what)
        if what[0] == self.breaks:
            raise ConnectionError("no network")

    def callback(self) -> Recorder:
        return self

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
        self.tell("log", state.global_step, "loss" in logs, args.run_name)

    def show(self, table: trackers.Table) -> None:
        self.tell("table", list(table.frame()["method"]).count("tuned") > 0, table.markdown.count("tuned") > 0)

    def close(self, failed: bool) -> None:
        self.tell("close", failed)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> type[Recorder]:
    """A stand-in for every tracker, which counts as installed."""

    class Fresh(Recorder):
        told: list[tuple[Any, ...]] = []  # noqa: RUF012

    monkeypatch.setattr(config, "find_spec", lambda name: True)
    monkeypatch.setattr(trackers, "TRACKERS", {"wandb": Fresh})
    return Fresh


def test_each_fit_is_a_run_named_by_method_seed_and_key_and_the_matrix_is_a_table(
    tmp_path: Path, plain: Path, recorder: type[Recorder]
) -> None:
    """Three updates, and the summary that a trainer logs at its end; the base has no trainer, so it has no run."""
    run(tmp_path, "store", "wandb")
    name = f"tuned-0-{tuned_key()[:8]}"
    assert recorder.told == [
        ("open", name, "demo"),
        *(("log", step, True, name) for step in (1, 2, 3)),
        ("log", 3, False, name),
        ("close", False),
        ("open", "matrix", "demo"),
        ("table", True, True),
        ("close", False),
    ]
    check_equal_weights(tmp_path / "store", plain)


@pytest.mark.parametrize("moment", ["log", "table"])
def test_a_tracker_that_fails_is_told_and_costs_nothing_else(
    moment: str, tmp_path: Path, plain: Path, recorder: type[Recorder]
) -> None:
    recorder.breaks = moment
    said = run(tmp_path, "store", "wandb").stdout
    name = "matrix" if moment == "table" else f"tuned-0-{tuned_key()[:8]}"
    assert f"{name}: wandb failed, and gets no more: ConnectionError: no network" in said
    check_equal_weights(tmp_path / "store", plain)


def test_without_the_key_no_trainer_has_a_tracker(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [one.__name__ for one in transformers_trainer.DEFAULT_CALLBACKS] == ["DefaultFlowCallback"]
    assert not (plain / "store" / "tensorboard").exists()


def test_a_tracker_that_is_not_installed_is_an_error_of_the_plan_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "find_spec", lambda name: None)
    (tmp_path / "a.yaml").write_text("bases: [microworld/small]\nmethods: [base]\nbenchmarks: [knowledge]\n"
                                     "report_to: [mlflow]\n")  # fmt: skip
    done = bakeoff("plan", tmp_path / "a.yaml", "--store", tmp_path / "store")
    assert done.returncode == 2
    assert done.stderr == (
        f"Error: {tmp_path}/a.yaml:4: `report_to` names mlflow, which is not installed\n"
        "  Install it: pip install mlflow. Or leave it out of `report_to`.\n"
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [("[comet]", "one of 'trackio', 'wandb', 'mlflow' or 'tensorboard'"), ("[wandb, wandb]", "with a value twice")],
)
def test_a_tracker_that_does_not_exist_or_is_named_twice_is_refused(
    value: str, message: str, recorder: type[Recorder]
) -> None:
    done = bakeoff("plan", ROOT / "demo.yaml", "--set", f"report_to={value}")
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_no_content_key_depends_on_the_trackers(tmp_path: Path, recorder: type[Recorder]) -> None:
    keys = [
        [cell.key for cell in make_plan(load_experiment(ROOT / "demo.yaml", more), tmp_path).cells]
        for more in ([], ["report_to=[wandb, tensorboard]"])
    ]
    assert keys[0] == keys[1]


def read_tensorboard(folder: Path) -> tuple[list[int], list[float], str]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curve, matrix = (EventAccumulator(str(folder / name)).Reload() for name in (f"tuned-0-{tuned_key()[:8]}", "matrix"))
    losses = curve.Scalars("train/loss")
    table = matrix.Tensors("matrix/text_summary")[0].tensor_proto.string_val[0].decode()
    return [one.step for one in losses], [one.value for one in losses], table


def test_tensorboards_own_reader_finds_a_loss_for_each_update_and_the_matrix(tmp_path: Path, plain: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    run(tmp_path, "store", "tensorboard")
    steps, losses, table = read_tensorboard(tmp_path / "store" / "tensorboard" / "demo")
    assert steps == [1, 2, 3]
    assert losses[0] > losses[2] > 0
    assert "tuned" in table
    check_equal_weights(tmp_path / "store", plain)


def test_mlflow_has_a_run_for_the_fit_with_its_losses_and_the_matrix(
    tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    run(tmp_path, "store", "mlflow", command=partial(bakeoff, folder=tmp_path))  # artifacts go into ./mlruns
    client = mlflow.MlflowClient()
    project = client.get_experiment_by_name("demo")
    runs = {one.info.run_name: one for one in client.search_runs([project.experiment_id])}
    name = f"tuned-0-{tuned_key()[:8]}"
    assert {key: one.info.status for key, one in runs.items()} == {name: "FINISHED", "matrix": "FINISHED"}
    assert [one.step for one in client.get_metric_history(runs[name].info.run_id, "loss")] == [1, 2, 3]
    assert "matrix.json" in [file.path for file in client.list_artifacts(runs["matrix"].info.run_id)]
    check_equal_weights(tmp_path / "store", plain)


def test_trackio_has_a_run_for_the_fit_with_its_losses_and_the_matrix(
    tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("trackio", reason="trackio is not installed")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    # it reads the variable as it is imported
    run(tmp_path, "store", "trackio", command=in_a_process_of_its_own)
    with contextlib.closing(sqlite3.connect(tmp_path / "trackio" / "demo.db")) as known:
        told = [(name, json.loads(metrics)) for name, metrics in known.execute("select run_name, metrics from metrics")]
    name = f"tuned-0-{tuned_key()[:8]}"
    assert [one["train/global_step"] for run_name, one in told if run_name == name and "train/loss" in one] == [1, 2, 3]
    (table,) = [one["matrix"]["_value"] for run_name, one in told if run_name == "matrix"]
    assert {row["method"] for row in table} == {"base", "tuned"}
    check_equal_weights(tmp_path / "store", plain)


def test_wandb_has_a_run_for_the_fit_and_one_for_the_matrix(
    tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline: its files name the runs; its own reader of them is not public."""
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    run(tmp_path, "store", "wandb")
    files = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert [name.encode() in file.read_bytes() for name, file in zip((f"tuned-0-{tuned_key()[:8]}", "matrix"), files,
                                                                    strict=True)] == [True, True]  # fmt: skip
    assert b"train/loss" in files[0].read_bytes()
    check_equal_weights(tmp_path / "store", plain)
