"""Damage and bad luck: what is stale, half-written, flipped or cut is named and made again, never believed."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import outside
import pytest
import torch
from command_line import bakeoff
from conftest import ROOT
from safetensors.torch import load_file, save_file
from test_joint import add_meeting

from harness.engine import registry
from harness.engine.config import load_experiment
from harness.engine.joint_cells import joint_cells
from harness.engine.plan import Plan, make_plan
from harness.engine.results.folder import is_current
from harness.engine.results.schema import read_rows
from harness.engine.run import Tally, run_plan
from harness.engine.states import state_of
from harness.engine.store.store import Store
from harness.report.render.document import Document
from harness.report.verify import verify

SHIPPED = ROOT / "harness" / "microworld" / "models" / "small"
RESULTS = ("rows.parquet", "samples.parquet", "matrix.json", "costs.json", "contamination.json", "provenance.json",
           "experiment.yaml", "digests.json", "report.md", "report.html")  # fmt: skip


class KilledError(BaseException):
    """Stands for a kill: no code of ours catches it."""


PREPARED: dict[str, Path] = {}


@pytest.fixture
def folder(outside_folder: Path) -> Path:
    return outside_folder


@pytest.fixture
def empty_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without a section, for tests of many cells that look at rows: a whole one takes longer than the cells."""
    monkeypatch.setattr("harness.report.compose.collect", lambda folder: None)
    monkeypatch.setattr("harness.report.compose.compose", lambda model: Document("", "", ()))


@pytest.fixture
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder after a run of the default experiment, which is made once and copied."""
    return copied("default", {}, folder, tmp_path_factory)


def copied(name: str, options: dict[str, str], folder: Path, factory: pytest.TempPathFactory) -> Path:
    """The folder with store and results of these options; the first test that asks for them makes them."""
    if name not in PREPARED:
        assert run(folder, **options).endswith("exit 0")
        PREPARED[name] = factory.mktemp(name)
        for part in ("store", "out"):
            shutil.copytree(folder / part, PREPARED[name] / part)
        return folder
    outside.experiment(folder, **options)
    for part in ("store", "out"):
        shutil.copytree(PREPARED[name] / part, folder / part)
    return folder


def bench(items: int) -> str:
    return f"[{{outside_bench: {{items: {items}}}}}]"


def run(folder: Path, *more: object, **options: str) -> str:
    """What `bakeoff run` prints, with its exit code."""
    file = outside.experiment(folder, **options)
    done = bakeoff("run", file, "--store", folder / "store", "--out", folder / "out", *more)
    return f"{done.stdout}{done.stderr}\nexit {done.returncode}"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "out").iterdir())}


def not_ok(folder: Path) -> list[str]:
    return [f"{check.file}: {check.said}" for check in verify(folder / "out") if check.word != "ok"]


def kill_at(name: str, patch: pytest.MonkeyPatch) -> None:
    """Die at the moment when the result file of that name would take its place."""
    real = os.replace

    def replace(partial: Path, path: Path) -> None:
        if Path(path).match(f"out/{name}"):
            raise KilledError(name)
        real(partial, path)

    patch.setattr(os, "replace", replace)


@pytest.mark.parametrize("name", RESULTS)
def test_a_changed_experiment_killed_while_its_results_are_written_is_written_again(name: str, finished: Path) -> None:
    folder = finished
    with pytest.MonkeyPatch.context() as patch:
        kill_at(name, patch)
        with pytest.raises(KilledError):
            run(folder, benchmarks=bench(6))
    assert "the results folder was not up to date" in run(folder, benchmarks=bench(6))
    assert not_ok(folder) == []
    assert "items: 6" in (folder / "out" / "experiment.yaml").read_text()
    before = content(folder)
    assert is_up_to_date(folder, benchmarks=bench(6)), "a finished folder is not written again"
    assert content(folder) == before


def is_up_to_date(folder: Path, **options: str) -> bool:
    """What decides whether a run writes the results again."""
    plan, store = plan_of(folder, **options), Store(folder / "store")
    return is_current(folder / "out", plan, [state_of(cell, store) for cell in plan.cells], store)


def test_each_damaged_or_missing_result_file_is_noticed_and_written_again(finished: Path) -> None:
    folder, before = finished, content(finished)
    ways: dict[str, Callable[[Path], object]] = {"cut": cut, "empty": DAMAGE["empty"], "deleted": DAMAGE["deleted"]}
    for way in ways.values():
        for name in RESULTS:
            way(folder / "out" / name)
            assert not is_up_to_date(folder), name
            (folder / "out" / name).write_bytes(before[name])
            assert is_up_to_date(folder), name
        for name in RESULTS:
            way(folder / "out" / name)
        assert "exit 0" in run(folder)
        assert content(folder) == before


def plan_of(folder: Path, **options: str) -> Plan:
    return make_plan(load_experiment(outside.experiment(folder, **options)), folder / "store")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x01
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "flipped": flip,
    "cut": cut,
    "empty": lambda path: path.write_bytes(b""),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0" * 50),
    "deleted": lambda path: path.unlink(),
}


LEDGER = ("cost.json", "key.json", "done")
MANY = {f"m{at}": float(at) for at in range(4 * len(DAMAGE))}
METHODS = ", ".join(f"{{outside: {{strength: {size}}}, as: {name}}}" for name, size in MANY.items())
COLUMNS = ", ".join(f"{{meeting: {{items: {at + 1}}}, as: j{at}}}" for at in range(4 * len(DAMAGE)))
TWO = "[outside, {outside: {strength: 2.0}, as: two}]"


def damaged(files: Sequence[str]) -> list[tuple[str, str]]:
    """Every pair of a file and a damage."""
    return [(file, how) for file in files for how in DAMAGE]


@pytest.fixture
def many(folder: Path, empty_report: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many artifacts and outcomes as there are pairs."""
    return copied("many", {"methods": f"[{METHODS}]"}, folder, tmp_path_factory)


def keys(folder: Path) -> dict[str, tuple[str, str]]:
    """Label -> the keys of artifact and outcome."""
    return {one.entry.label: (one.node.key, one.key) for one in plan_of(folder, methods=f"[{METHODS}]").cells}


def test_each_damaged_outcome_is_named_and_scored_again(many: Path) -> None:
    folder, before, found = many, content(many), keys(many)
    cases = dict(zip(MANY, damaged(("outcomes.jsonl", *LEDGER)), strict=True))
    for label, (name, how) in cases.items():
        DAMAGE[how](folder / "store" / "outcomes" / found[label][1] / name)
    planned = bakeoff("plan", folder / "experiment.yaml", "--store", folder / "store").stdout
    assert "20 cells: 20 to run" in planned
    heard = run(folder, methods=f"[{METHODS}]")
    assert "(0 artifacts fitted, 20 cells scored now)" in heard
    assert heard.endswith("exit 0")
    for label, (name, how) in cases.items():
        file = folder / "store" / "outcomes" / found[label][1] / name
        assert (f"damaged {label}/outside_bench/0: {file}" in heard) == ((name, how) != ("done", "deleted"))
    for result in ("rows.parquet", "samples.parquet", "matrix.json"):
        assert content(folder)[result] == before[result]
    assert is_up_to_date(folder, methods=f"[{METHODS}]")


def test_each_damaged_artifact_is_fitted_again_before_it_is_loaded(many: Path) -> None:
    folder, before, found = many, content(many), keys(many)
    shutil.rmtree(folder / "store" / "outcomes")
    cases = dict(zip(MANY, damaged(("number.json", *LEDGER)), strict=True))
    for label, (name, how) in cases.items():
        DAMAGE[how](folder / "store" / "artifacts" / found[label][0] / name)
    heard = run(folder, methods=f"[{METHODS}]")
    assert "(20 artifacts fitted, 20 cells scored now)" in heard
    assert heard.endswith("exit 0")
    for label, (name, how) in cases.items():
        file = folder / "store" / "artifacts" / found[label][0] / name
        assert (f"damaged {label} on model, seed 0: {file}" in heard) == ((name, how) != ("done", "deleted"))
    assert content(folder)["rows.parquet"] == before["rows.parquet"]


def test_each_damaged_comparison_of_policies_is_named_and_compared_again(folder: Path, empty_report: None) -> None:
    add_meeting(folder)
    options = {"methods": TWO, "benchmarks": f"[{COLUMNS}]"}
    assert run(folder, **options).endswith("exit 0")
    before = content(folder)
    found = {one.column.label: one.key for one in joint_cells(plan_of(folder, **options), Store(folder / "store"))}
    cases = dict(zip(found, damaged(("joint.jsonl", *LEDGER)), strict=True))
    for label, (name, how) in cases.items():
        DAMAGE[how](folder / "store" / "joint" / found[label] / name)
    planned = bakeoff("plan", folder / "experiment.yaml", "--store", folder / "store").stdout
    assert planned.count("between policies") == planned.count("to run") == 20
    heard = run(folder, **options)
    assert "(0 artifacts fitted, 0 cells scored now)" in heard
    assert heard.endswith("exit 0")
    for label, (name, how) in cases.items():
        file = folder / "store" / "joint" / found[label] / name
        assert (f"damaged {label} between policies: {file}" in heard) == ((name, how) != ("done", "deleted"))
    for result in ("rows.parquet", "joint.parquet", "excerpts.parquet", "matrix.json"):
        assert content(folder)[result] == before[result]
    assert is_up_to_date(folder, **options)


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def first_of(folder: Path, area: str) -> Path:
    return sorted((folder / "store" / area).iterdir())[0]


def exchange(folder: Path, area: str) -> None:
    """Each of two finished folders takes the other's name."""
    one, other = sorted((folder / "store" / area).iterdir())[:2]
    one.rename(folder / "aside")
    other.rename(one)
    (folder / "aside").rename(other)


def older(path: Path) -> None:
    """The marker of a bakeoff that kept no digests."""
    path.write_text("")


STRUCTURE: dict[str, Callable[[Path], object]] = {
    "two outcomes exchanged": lambda folder: exchange(folder, "outcomes"),
    "two artifacts exchanged": lambda folder: exchange(folder, "artifacts"),
    "a marker that is a folder": lambda folder: as_folder(first_of(folder, "outcomes") / "done"),
    "outcomes that are a folder": lambda folder: as_folder(first_of(folder, "outcomes") / "outcomes.jsonl"),
    "a ledger that is a folder": lambda folder: as_folder(first_of(folder, "outcomes") / "cost.json"),
    "a marker of an older bakeoff": lambda folder: older(first_of(folder, "outcomes") / "done"),
    "a finished folder that is a file": lambda folder: (
        shutil.rmtree(one := first_of(folder, "outcomes")), one.write_text("x")),
    "a finished folder that is a dead link": lambda folder: (
        shutil.rmtree(one := first_of(folder, "outcomes")), one.symlink_to("nowhere")),
    "a file more": lambda folder: (first_of(folder, "artifacts") / "more").write_text("x"),
    "no locks": lambda folder: shutil.rmtree(folder / "store" / "locks"),
    "no outcomes": lambda folder: shutil.rmtree(folder / "store" / "outcomes"),
    "no store": lambda folder: shutil.rmtree(folder / "store"),
    "an area that is a file": lambda folder: (
        shutil.rmtree(folder / "store" / "outcomes"), (folder / "store" / "outcomes").write_text("x")),
    "locks that are a file": lambda folder: (
        shutil.rmtree(folder / "store" / "locks"), (folder / "store" / "locks").write_text("x"),
        shutil.rmtree(folder / "store" / "outcomes")),
    "a cache that is a folder": lambda folder: as_folder(folder / "store" / "digests.json"),
    "rows that are a folder": lambda folder: as_folder(folder / "out" / "rows.parquet"),
    "an experiment that is a folder": lambda folder: as_folder(folder / "out" / "experiment.yaml"),
}  # fmt: skip
REFUSED = {"an area that is a file", "locks that are a file", "rows that are a folder",
           "an experiment that is a folder"}  # fmt: skip


@pytest.mark.parametrize("name", STRUCTURE)
def test_damage_to_names_and_folders_is_healed_or_refused_in_one_line(
    name: str, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    copied("two", {"methods": TWO}, folder, tmp_path_factory)
    before, words = content(folder), (folder / "experiment.yaml", "--store", folder / "store")
    STRUCTURE[name](folder)
    if "out" not in str(STRUCTURE[name].__code__.co_consts):
        shutil.rmtree(folder / "out")
    assert bakeoff("plan", *words).returncode == 0
    assert bakeoff("explain", words[0], "two", *words[1:]).returncode == 0
    heard = run(folder, methods=TWO)
    assert heard.endswith("exit 2" if name in REFUSED else "exit 0"), heard
    if name in REFUSED:
        assert "cannot be written" in heard
    else:
        for result in ("rows.parquet", "samples.parquet", "matrix.json", "experiment.yaml", "provenance.json"):
            assert content(folder)[result] == before[result], result
        assert not_ok(folder) == []


def test_finished_outcomes_need_no_artifact(finished: Path) -> None:
    before = content(finished)
    shutil.rmtree(finished / "store" / "artifacts")
    shutil.rmtree(finished / "out")
    assert "exit 0" in run(finished)
    assert content(finished) == before


def test_damaged_caches_are_rebuilt(folder: Path) -> None:
    rows = folder / "rows.jsonl"
    rows.write_text('{"prompt": "test 3", "completion": "it is in the test"}\n')
    options = {"methods": "[counting]", "extra": f"data: {{demonstrations: {rows}}}"}
    run(folder, **options)
    before = content(folder)
    for how in DAMAGE.values():
        caches = [
            path for path in (folder / "store").glob("**/*.json") if not {"artifacts", "outcomes"} & {*path.parts}
        ]
        assert {path.parent.name for path in caches} >= {"store", "contamination"}
        for path in caches:
            how(path)
        shutil.rmtree(folder / "out")
        assert "exit 0" in run(folder, **options)
        assert content(folder) == before


def test_a_damaged_record_of_a_failure_is_forgotten(folder: Path) -> None:
    options = {"methods": "[{outside: {fails: out of luck}}]"}
    assert run(folder, **options).endswith("exit 1")
    store, node = Store(folder / "store"), plan_of(folder, **options).cells[0].node
    store.failure_path(node.key).write_bytes(b"")
    assert store.failure(node.key) is None
    assert "failed  outside/outside_bench/0: RuntimeError: out of luck" in run(folder, **options)
    assert store.failure(node.key) == "RuntimeError: out of luck"
    flip(store.failure_path(node.key))
    assert "state     " in bakeoff("explain", folder / "experiment.yaml", "outside", "--store", store.root).stdout


HOSTILE = {
    "metrics={'points': 'high'}": "the item 'i0' has points = 'high', which is not a finite number",
    "metrics={'points': float('nan')}": "the item 'i0' has points = nan, which is not a finite number",
    "metrics={'pionts': 1.0}": "the item 'i0' has the metric 'pionts'; the benchmark declares points",
    "metrics=[1.0]": "the item 'i0' has [1.0] in place of a mapping",
    "item=0": "the item 0 has item = 0, which is not a text",
    "cluster=None": "the item 'i0' has cluster = None, which is not a text",
    "completions='text'": "the item 'i0' has completions = 'text', which is not a tuple of texts",
    "weights={'points': -1.0}": "the item 'i0' has a negative weight of points",
    "weights={'points': float('inf')}": "the item 'i0' has points = inf, which is not a finite number",
}


def yields(folder: Path, change: str) -> None:
    """Let each outcome of the outside benchmark be changed before it is yielded."""
    file = folder / "outside_bench.py"
    text = file.read_text().replace("yield Outcome(", "yield self.changed(")
    text = text.replace("import hashlib", "import dataclasses\nimport hashlib", 1)
    change = f"return dataclasses.replace(Outcome(*values), {change})"
    file.write_text(f"{text}\n    def changed(self, *values):\n        {change}\n")


@pytest.mark.parametrize("change", HOSTILE)
def test_an_outcome_that_breaks_the_contract_fails_its_cell_with_the_item(change: str, folder: Path) -> None:
    yields(folder, change)
    heard = run(folder)
    assert f"failed  outside/outside_bench/0: ValueError: {HOSTILE[change]}" in heard
    assert heard.endswith("exit 1")


def test_what_is_no_outcome_fails_its_cell(folder: Path) -> None:
    file = folder / "outside_bench.py"
    file.write_text(file.read_text().replace("yield Outcome(", "yield ("))
    assert "ValueError: the benchmark yielded a tuple, not an Outcome: ('i0'" in run(folder)


def test_a_metric_that_is_none_has_no_row(folder: Path) -> None:
    yields(folder, "metrics={'points': None if values[0] == 'i3' else 1}")
    assert run(folder).endswith("exit 0")
    assert len(read_rows(folder / "out")) == 7
    assert not_ok(folder) == []


@pytest.fixture(scope="module")
def broken_base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The small model with weights that are NaN, and with one infinite embedding."""
    from safetensors.torch import load_file, save_file

    found = {}
    for name, value in (("nan", float("nan")), ("inf", float("inf"))):
        folder = tmp_path_factory.mktemp("broken") / name
        shutil.copytree(SHIPPED, folder)
        weights = load_file(folder / "model.safetensors")
        key = next(key for key in sorted(weights) if key.endswith("norm.weight"))
        weights[key] = weights[key] * value
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        found[name] = folder
    return found


@pytest.mark.parametrize("name", ["nan", "inf"])
def test_logits_that_are_not_finite_fail_every_cell(name: str, broken_base: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    benchmarks = "[{knowledge: {limit: 4}}, {instruction_following: {limit: 2}}, {perplexity: {limit: 2}}]"
    file.write_text(f"name: x\nbases: [{broken_base[name]}]\nmethods: [base]\nbenchmarks: {benchmarks}\nthreads: 1\n")
    done = bakeoff("run", file, "--store", tmp_path / "store", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert done.stdout.count("the model's logits are not finite numbers") == 3, done.stdout


METHOD = '''"""A method that does to a run what it is told."""

import os
import signal
import sys
from dataclasses import dataclass

import torch

from harness.method import FitReport, Method, setting


@dataclass(frozen=True)
class Hostile(Method):
    """It does its mode, at fit or at load."""

    trains = False
    mode: str = setting("", "what it does")
    at: str = setting("load", "when")

    def fit(self, base, data, inputs, out, context):
        self.do(base, "fit")
        return FitReport()

    def load(self, base, artifact, inputs):
        self.do(base, "load")
        policy = base.policy()
        if self.at == "score":
            policy = type(policy)(base.load(), base.encoder)
            real = policy.score
            policy.score = lambda *given: (self.do(base, "score"), real(*given))[1]
        return policy

    def do(self, base, now):
        if now != self.at:
            return
        if self.mode == "exit":
            sys.exit(0)
        if self.mode == "generator":
            raise GeneratorExit
        if self.mode == "terminate":
            os.kill(os.getpid(), signal.SIGTERM)
        if self.mode == "tokens":
            base.tokenizer.add_tokens(["Paris", "the", "in"])
        if self.mode == "side":
            base.tokenizer.padding_side = "right"
        if self.mode == "template":
            base.encoder.template = "{{ messages[0]['content'] }}"
        if self.mode == "text":
            base.encoder.chat.text = "{{ messages[0]['content'] }}"
        if self.mode == "weights":
            with torch.no_grad():
                next(base.policy().model.parameters()).mul_(0)
        if self.mode == "data":
            next(base.policy().model.parameters()).data[:] = 0
        if self.mode == "dropout":
            base.policy().model.train()
        if self.mode == "jinja":
            base.tokenizer.chat_template = "{{ messages[0]['content'] }}"
        if self.mode == "eos":
            base.tokenizer.eos_token = "the"
        if self.mode == "special":
            base.tokenizer.add_special_tokens({"additional_special_tokens": ["<extra>"]})
        if self.mode == "generation":
            base.policy().model.generation_config.max_new_tokens = 1
        if self.mode == "settings":
            base.policy().model.config.rms_norm_eps = 1.0
        if self.mode == "buffer":
            next(base.policy().model.buffers()).mul_(0)
        if self.mode == "forward":
            model = base.policy().model.model
            real = model.forward
            model.forward = lambda *given, **named: real(*given, **named)
        if self.mode == "config":
            base.config.max_position_embeddings = 4
        if self.mode == "verb":
            base.policy().score = lambda prompts, completions: []
'''


@pytest.fixture
def hostile(tmp_path: Path, empty_report: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the hostile method on the path; neither reports nor the speed of decoding matter here."""
    unknown = {"seconds_per_token": None, "overhead_per_token": None}
    monkeypatch.setattr("harness.engine.cost.decoding_cost", lambda *given: unknown)
    (tmp_path / "hostile_method.py").write_text(METHOD)
    info = tmp_path / "hostile-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bakeoff.methods]\nhostile = hostile_method:Hostile\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._outside.cache_clear()
    yield tmp_path
    registry._outside.cache_clear()
    sys.modules.pop("hostile_method", None)


def run_hostile(folder: Path, methods: str) -> str:
    file, checked = folder / "experiment.yaml", PREPARED.get("hostile", Path()) / "store" / "models"
    if checked.is_dir() and not (folder / "store").exists():  # the checks of the base's files, which stay the same
        shutil.copytree(checked, folder / "store" / "models")
    benchmarks = "[{knowledge: {limit: 6}}, {instruction_following: {limit: 2, max_new_tokens: 8}}]"
    file.write_text(
        f"name: x\nbases: [microworld/small]\nmethods: {methods}\nbenchmarks: {benchmarks}\nthreads: 1\nseeds: [0]\n"
    )
    done = bakeoff("run", file, "--store", folder / "store", "--out", folder / "out")
    return f"{done.stdout}{done.stderr}\nexit {done.returncode}"


def unharmed(folder: Path) -> Any:
    """The rows of the base alone, from a run that all tests share."""
    if "hostile" not in PREPARED:
        PREPARED["hostile"] = folder.with_name("hostile-base")
        PREPARED["hostile"].mkdir()
        assert run_hostile(PREPARED["hostile"], "[base]").endswith("exit 0")
    return read_rows(PREPARED["hostile"] / "out")


CHANGES = {"tokens": "tokenizer", "side": "tokenizer", "template": "encoder", "text": "encoder", "weights": "model",
           "data": "model", "dropout": "model", "jinja": "tokenizer", "eos": "tokenizer", "special": "tokenizer",
           "generation": "model", "settings": "model", "buffer": "model", "forward": "model", "config": "config",
           "verb": "model"}  # fmt: skip


@pytest.mark.parametrize(("mode", "at"), [*((mode, "load") for mode in CHANGES), ("tokens", "fit"), ("weights", "fit")])
def test_a_method_that_changes_what_cells_share_fails_and_later_cells_are_unharmed(
    mode: str, at: str, hostile: Path
) -> None:
    before = unharmed(hostile)
    heard = run_hostile(hostile, f"[{{hostile: {{mode: {mode}, at: {at}}}, as: bad}}, base]")
    words = f"failed  bad/knowledge/0: hostile changed the {CHANGES[mode]} of microworld/small, which all cells share"
    assert words in heard
    assert heard.endswith("exit 1")
    after = read_rows(hostile / "out")
    assert after.value.tolist() == before.value.tolist()
    assert set(after.method) == {"base"}


def test_a_policy_that_changes_what_cells_share_as_it_is_scored_is_loaded_again(hostile: Path) -> None:
    before = unharmed(hostile)
    before = before[before.benchmark == "instruction_following"]
    shutil.copytree(PREPARED["hostile"] / "store", hostile / "store")
    heard = run_hostile(hostile, "[{hostile: {mode: template, at: score}, as: bad}]")
    assert "failed  bad/knowledge/0: bad/knowledge/0 changed the encoder of microworld/small" in heard
    assert "done    bad/instruction_following/0" in heard
    assert read_rows(hostile / "out").value.tolist() == before.value.tolist()


@pytest.mark.parametrize("at", ["fit", "load"])
@pytest.mark.parametrize("mode", ["exit", "generator"])
def test_a_plugin_that_exits_fails_its_own_cells_only(mode: str, at: str, hostile: Path) -> None:
    heard = run_hostile(hostile, f"[{{hostile: {{mode: {mode}, at: {at}}}, as: bad}}, base]")
    assert f"failed  bad/knowledge/0: {'SystemExit' if mode == 'exit' else 'GeneratorExit'}" in heard
    assert "4 cells: 2 done, 2 failed" in heard
    assert heard.endswith("exit 1")


def test_sigterm_ends_a_run_as_ctrl_c_does(hostile: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    heard = run_hostile(hostile, "[base, {hostile: {mode: terminate}, as: bad}]")
    assert "Interrupted. 2 of 4 cells are done and kept" in heard
    assert heard.endswith("exit 2")
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_is_left_to_run_is_no_success(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def done_and_gone(*given: object, **named: object) -> Tally:
        tally = run_plan(*given, **named)  # type: ignore[arg-type]
        shutil.rmtree(folder / "store" / "outcomes")
        return tally

    monkeypatch.setattr("harness.cli.running.run_plan", done_and_gone)
    heard = run(folder)
    assert "Not all is done: the store was changed while this ran" in heard
    assert heard.endswith("exit 1")


@pytest.mark.parametrize("option", ["--out", "--store"])
@pytest.mark.parametrize("where", ["file/inside", "n" * 300])
def test_a_place_that_cannot_be_written_is_refused_before_any_work(where: str, option: str, folder: Path) -> None:
    (folder / "file").write_text("")
    done = bakeoff("run", outside.experiment(folder), "--store", folder / "store", option, folder / where)
    assert done.returncode == 2
    assert {"--out": "cannot be written", "--store": "no store can be there"}[option] in done.stderr
    assert "fitting" not in done.stdout


@pytest.mark.parametrize(("rate", "changed"), [("1e-2", True), ("0.0", False)])
def test_training_of_one_update_trains_and_a_fit_that_changes_nothing_says_so(
    rate: str, changed: bool, hostile: Path
) -> None:
    """The warm-up of 3 % of one update was rounded up to that update, at rate 0."""
    file = hostile / "experiment.yaml"
    file.write_text(
        f"name: x\nbases: [microworld/small]\nmethods: [base, {{sft: {{updates: 1, learning_rate: {rate}}}}}]\n"
        "benchmarks: [{perplexity: {limit: 3}}]\ndata: {demonstrations: microworld/curated-1k}\nthreads: 1\n"
    )
    done = bakeoff("run", file, "--store", hostile / "store", "--out", hostile / "out")
    assert done.returncode == 0, done.stdout
    rows = read_rows(hostile / "out").groupby("method", observed=True)["value"].mean()
    assert (rows["sft"] != rows["base"]) == changed
    said = "training left every weight as it was after 1 updates"
    assert (said in done.stdout) != changed
    assert (said in (hostile / "out" / "costs.json").read_text()) != changed


def test_a_benchmark_whose_file_is_missing_is_refused_or_on_request_not_applicable(folder: Path) -> None:
    lost = f"{{perplexity: {{data: {folder / 'nowhere.txt'}}}}}"
    heard = run(folder, benchmarks=f"[outside_bench, {lost}]")
    assert "experiment.yaml:4: data is" in heard
    assert "nowhere.txt" in heard
    assert heard.endswith("exit 2")
    lost = lost[:-1] + ", on_error: skip}"
    heard = run(folder, benchmarks=f"[outside_bench, {lost}]")
    assert "done    outside/outside_bench/0" in heard
    assert "n/a     perplexity: " in heard
    assert "nowhere.txt" in heard
    assert "1 done, 1 n/a" in heard
    assert heard.endswith("exit 1")
    assert not_ok(folder) == []
    alone = run(folder, benchmarks=f"[{lost}]")
    assert alone.endswith("exit 2")


def test_logits_that_are_not_finite_are_an_error_of_the_cell_also_for_the_base(tmp_path: Path) -> None:
    """A model whose weights are all NaN scored .5 on questions of two choices and was "done"."""
    model = tmp_path / "broken"
    shutil.copytree(SHIPPED, model)
    (weights,) = model.glob("*.safetensors")
    broken = {name: torch.full_like(weight, torch.nan) for name, weight in load_file(weights).items()}
    save_file(broken, weights, metadata={"format": "pt"})
    file = tmp_path / "experiment.yaml"
    file.write_text(
        "name: x\nbases: [./broken]\nmethods: [base]\nthreads: 1\n"
        "benchmarks: [{knowledge: {limit: 2}}, {instruction_following: {limit: 1, max_new_tokens: 2}}]\n"
    )
    done = bakeoff("run", file, "--store", tmp_path / "store", "--out", tmp_path / "out")
    assert done.returncode == 1
    for benchmark in ("knowledge", "instruction_following"):
        assert f"failed  base/{benchmark}/0: the model's logits are not finite numbers" in done.stdout
    assert "2 cells: 2 failed" in done.stdout
