"""Experiment trackers: one run for each trainer with its curves, and a table at the end.

Import it inside functions: it loads transformers. The classes that speak to a tracker during training are those of
transformers, which TRL uses. They are attached from outside, because a method makes its own trainer and its code is
part of content keys: transformers gives every trainer the callbacks of one list, to which `attached` adds one. It
changes what a trainer logs, and nothing that it computes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from transformers import integrations, trainer

from harness.errors import first_line


@dataclass(frozen=True)
class Run:
    """A run of a tracker: its name, the project that it belongs to, and the folder of those that write files."""

    name: str
    project: str
    folder: Path


@dataclass(frozen=True)
class TrackedTable:
    """Rows with the same columns, and the same in Markdown."""

    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    markdown: str

    def frame(self) -> Any:
        """As a data frame of pandas."""
        import pandas

        return pandas.DataFrame([[row.get(name) for name in self.columns] for row in self.rows], columns=self.columns)


class TensorBoard:
    """Event files in a folder for each run."""

    def __init__(self, run: Run) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # what a fit that was killed has left there would be part of the curve
        shutil.rmtree(run.folder / run.name, ignore_errors=True)
        self.writer = SummaryWriter(str(run.folder / run.name))

    def callback(self) -> Any:
        return integrations.TensorBoardCallback(self.writer)

    def show(self, table: TrackedTable) -> None:
        self.writer.add_text("matrix", table.markdown)

    def close(self, failed: bool) -> None:
        self.writer.close()


class WeightsAndBiases:
    """A run of wandb."""

    def __init__(self, run: Run) -> None:
        import wandb

        self.library = wandb
        self.run = wandb.init(project=os.environ.get("WANDB_PROJECT", run.project), name=run.name)

    def callback(self) -> Any:
        return integrations.WandbCallback()

    def show(self, table: TrackedTable) -> None:
        self.run.log({"matrix": self.library.Table(dataframe=table.frame())})

    def close(self, failed: bool) -> None:
        self.run.finish(exit_code=int(failed))


class MLflow:
    """A run of MLflow, where MLFLOW_TRACKING_URI says, or else where MLflow keeps runs by default."""

    def __init__(self, run: Run) -> None:
        import mlflow

        self.library = mlflow
        if not {"MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"} & set(os.environ):
            mlflow.set_experiment(run.project)
        mlflow.start_run(run_name=run.name)

    def callback(self) -> Any:
        return integrations.MLflowCallback()

    def show(self, table: TrackedTable) -> None:
        self.library.log_table(table.frame(), "matrix.json")

    def close(self, failed: bool) -> None:
        self.library.flush_async_logging()
        self.library.end_run("FAILED" if failed else "FINISHED")


class Trackio:
    """A run of trackio, on this machine unless its own variables name a Space."""

    def __init__(self, run: Run) -> None:
        import trackio

        self.library = trackio
        self.run = trackio.init(project=run.project, name=run.name, resume="allow")

    def callback(self) -> Any:
        return integrations.TrackioCallback()

    def show(self, table: TrackedTable) -> None:
        self.library.log({"matrix": self.library.Table(dataframe=table.frame())})

    def close(self, failed: bool) -> None:
        if self.library.context_vars.current_run.get() is not None:  # its callback may have finished it
            self.library.finish()


TRACKERS: Mapping[str, Callable[[Run], Any]] = {
    "trackio": Trackio,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
    "tensorboard": TensorBoard,
}


class _Opened:
    """The trackers of one run; one that fails is told and left out: it costs its curves, and not the fit."""

    def __init__(self, names: Sequence[str], run: Run, say: Callable[[str], None]) -> None:
        self.run, self.say = run, say
        self.open: dict[str, Any] = {}
        for name in names:
            with self._left_out(name):
                self.open[name] = TRACKERS[name](run)

    @contextmanager
    def _left_out(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.open.pop(name, None)
            self.say(f"{self.run.name}: {name} failed, and gets no more: {type(error).__name__}: {first_line(error)}")

    def each(self, do: Callable[[Any], None]) -> None:
        """Do it with every tracker that is left."""
        for name, tracker in list(self.open.items()):
            with self._left_out(name):
                do(tracker)

    def close(self, failed: bool) -> None:
        """End the run."""
        self.each(lambda tracker: tracker.close(failed))
        self.open.clear()


@contextmanager
def attached(names: Sequence[str], run: Run, say: Callable[[str], None]) -> Iterator[None]:
    """Report every trainer that the block makes, as `run`; a second one as a run of its own, NAME-2."""
    trainers: list[_Curves] = []

    class Curves(_Curves):
        def __init__(self) -> None:
            trainers.append(self)
            number = f"-{len(trainers)}" if len(trainers) > 1 else ""
            super().__init__(names, Run(f"{run.name}{number}", run.project, run.folder), say)

    trainer.DEFAULT_CALLBACKS.append(Curves)
    try:
        yield
    finally:
        trainer.DEFAULT_CALLBACKS.remove(Curves)
        for one in trainers:  # those whose training did not come to its end
            one.end(failed=True)


class _Curves(transformers.TrainerCallback):  # type: ignore[misc]
    """The words of one trainer to the trackers: every update's figures."""

    def __init__(self, names: Sequence[str], run: Run, say: Callable[[str], None]) -> None:
        self.names, self.run, self.say = names, run, say
        self.opened: _Opened | None = None
        self.callbacks: dict[int, Any] = {}

    def on_init_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Have the trainer log each update. What it reports itself stays as the method has set it: nothing."""
        args.logging_strategy, args.logging_steps = "steps", 1
        args.run_name, args.project = self.run.name, self.run.project

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Open the runs."""
        if state.is_world_process_zero:
            self.opened = _Opened(self.names, self.run, self.say)
            self._tell("on_train_begin", args, state, control, more)

    def on_log(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Hand on the figures."""
        self._tell("on_log", args, state, control, more)

    def on_train_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Close the runs."""
        self._tell("on_train_end", args, state, control, more)
        self.end(failed=False)

    def end(self, *, failed: bool) -> None:
        """Close the runs that are open."""
        if self.opened:
            self.opened.close(failed)
            self.opened = None

    def _tell(self, event: str, args: Any, state: Any, control: Any, more: Mapping[str, Any]) -> None:
        def tell(tracker: Any) -> None:
            if id(tracker) not in self.callbacks:
                self.callbacks[id(tracker)] = tracker.callback()
            getattr(self.callbacks[id(tracker)], event)(args, state, control, **more)

        if self.opened:
            self.opened.each(tell)


def show_table(names: Sequence[str], run: Run, table: TrackedTable, say: Callable[[str], None]) -> None:
    """Report a table as a run of its own."""
    opened = _Opened(names, run, say)
    opened.each(lambda tracker: tracker.show(table))
    opened.close(failed=False)
