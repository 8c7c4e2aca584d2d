"""One fit by several processes: it teaches what one process teaches, and says why it cannot."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from harness.engine import together
from harness.engine.config import load_experiment
from harness.engine.plan import Node, Plan, make_plan
from harness.engine.progress import Progress
from harness.engine.run import run_plan
from harness.engine.store.store import Store
from harness.errors import UserError
from harness.method import FitContext
from harness.training.labelled_rows import IGNORED, TrainingRow
from harness.training.loop import Optimisation, evened_out
from methods.peft import Peft
from methods.sft import Sft

EXPERIMENT = """
bases: [{{name: microworld/small, dtype: float32, device: cpu}}]
data: {{demonstrations: microworld/curated-1k}}
data_sizes: [30]
methods: [{methods}]
benchmarks: [perplexity]
micro_batch: 2
threads: 1
"""
SETTINGS = "learning_rate: 1e-3, epochs: 1, batch_size: 8"


def planned(folder: Path, methods: str, dtype: str = "float32") -> Plan:
    file = folder / "together.yaml"
    file.write_text(EXPERIMENT.format(methods=methods).replace("float32", dtype))
    return make_plan(load_experiment(file), folder / "store")


def weights(store: Store, node: Node) -> dict[str, torch.Tensor]:
    folder = store.folder("artifacts", node.key)
    return {name: part for file in folder.glob("*.safetensors") for name, part in load_file(file).items()}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", ["sft", "lora"])
def test_two_processes_train_as_one_does(tmp_path: Path, method: str, dtype: str) -> None:
    """30 rows in batches of 8, two at once: the last update has 6 rows, which two processes cannot share evenly."""
    alone = f"{{{method}: {{{SETTINGS}}}, as: alone}}"
    plan = planned(tmp_path, f"{alone}, {{{method}: {{{SETTINGS}, parallel: fsdp}}, as: two}}", dtype)
    store = Store(tmp_path / "store")
    heard = StringIO()
    with Progress(Console(file=heard, width=300)) as progress:
        tally = run_plan(plan, store, progress)
    assert not tally.failed, heard.getvalue()
    one, two = (next(cell.node for cell in plan.cells if cell.entry.label == label) for label in ("alone", "two"))
    costs = [store.cost("artifacts", node.key) for node in (one, two)]
    curves = [[loss for _, loss in cost["notes"]["loss"]] for cost in costs]
    assert len(curves[0]) == 4
    assert curves[1] == pytest.approx(curves[0], abs=1e-4)
    for name in ("trained_parameters", "training_tokens"):
        assert costs[0][name] == costs[1][name]
    assert costs[1]["notes"]["processes"] == 2
    assert costs[1]["peak_memory_mb"] > 50
    found = [weights(store, node) for node in (one, two)]
    assert found[0].keys() == found[1].keys()
    start = {name: part.to(getattr(torch, dtype)) for name, part in weights_of_base().items()}
    for name, part in found[0].items():
        assert torch.allclose(part, found[1][name], atol=1e-4), name
    moved = [name for name, part in found[1].items() if name in start and not torch.equal(part, start[name])]
    moved += [name for name, part in found[1].items() if "lora_B" in name and part.any()]
    assert len(moved) > 10


def weights_of_base() -> dict[str, torch.Tensor]:
    import harness.microworld

    folder = Path(harness.microworld.__file__).parent / "models" / "small"
    return {name: part for file in folder.glob("*.safetensors") for name, part in load_file(file).items()}


@pytest.mark.slow
def test_an_error_in_several_processes_is_raised_as_in_one(tmp_path: Path) -> None:
    plan = planned(tmp_path, "{sft: {learning_rate: 1e30, epochs: 1, batch_size: 8, parallel: fsdp}}")
    with Progress(Console(file=StringIO(), width=300)) as progress:
        tally = run_plan(plan, Store(tmp_path / "store"), progress)
    ((_, why),) = tally.failed
    assert "not finite" in why or "loss is" in why
    assert "Lower the learning rate" in why


def test_the_number_of_processes_is_part_of_the_content_key(tmp_path: Path) -> None:
    entries = [f"{{sft: {{{more}}}, as: m{at}}}" for at, more in enumerate(("", "parallel: fsdp", "processes: 4"))]
    plan = planned(tmp_path, ", ".join(entries))
    assert len({cell.node.key for cell in plan.cells}) == 3


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("sft: {parallel: fsdp, batch_size: 7}", "divide batch_size"),
        ("sft: {parallel: fsdp, processes: 1}", "2 processes or more"),
        ("sft: {parallel: fsdp, checkpoint: held_out_loss}", "checkpoint: last"),
        ("peft: {type: prefix_tuning, settings: {num_virtual_tokens: 2}, parallel: fsdp}", "Leave parallel out"),
        ("loreft: {parallel: fsdp}", "no field"),
        ("dpo: {parallel: fsdp}", "parallel is a field of lora, peft, sft, sft_on_chosen."),
        ("sft: {parallel: ddp}", "fsdp"),
    ],
)
def test_what_several_processes_cannot_do_is_refused(tmp_path: Path, method: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        planned(tmp_path, f"{{{method}}}")
    assert said in str(caught.value)


def test_a_method_that_trains_another_itself_refuses_its_processes(tmp_path: Path) -> None:
    file = tmp_path / "rft.yaml"
    text = EXPERIMENT.replace("data_sizes: [30]\n", "").format(
        methods="{rft: {samplers: [base], tune: {sft: {parallel: fsdp}}}}"
    )
    file.write_text(text.replace("curated-1k}", "curated-1k, problems: microworld/stories}"))
    with pytest.raises(UserError, match="trains sft itself, in one process"):
        make_plan(load_experiment(file), tmp_path / "store")


def test_a_start_that_has_processes_is_fitted_by_them(tmp_path: Path) -> None:
    text = EXPERIMENT.replace("data_sizes: [30]\n", "").format(
        methods="{proxy_tuning: {expert: {sft: {parallel: fsdp}}}}"
    )
    file = tmp_path / "proxy.yaml"
    file.write_text(text + "small_base: microworld/small\n")
    plan = make_plan(load_experiment(file), tmp_path / "store")
    assert any(isinstance(one.method, Sft) and one.method.parallel for one in plan.cells[0].node.inputs.values())


def test_a_fit_with_too_few_gpus_is_refused_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Placement, with a stand-in for the GPUs."""
    spec = SimpleNamespace(device="cuda")
    node: Any = SimpleNamespace(method=Sft(parallel="fsdp", processes=4), title="sft", base=SimpleNamespace(spec=spec))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    together.require_gpus([node])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="Set processes to 2 or less"):
        together.require_gpus([node])
    node.method = Peft()
    together.require_gpus([node])


def test_rows_that_train_nothing_even_out_the_processes() -> None:
    """3 rows, two processes with one row at once: a fourth row, the shortest without its labels, completes them."""
    rows = [TrainingRow([1] * length, [IGNORED, *[1] * (length - 1)]) for length in (4, 2, 3)]
    settings = Optimisation(learning_rate=1e-3, epochs=1, batch_size=2, parallel="fsdp")
    given, order = evened_out(rows, [2, 0, 1], settings, FitContext(0, 1, processes=2))
    assert order == [2, 0, 1, 3]
    assert given[3].input_ids == [1, 1]
    assert given[3].labelled == 0
    assert evened_out(rows, [2, 0, 1], settings, FitContext(0, 1)) == (rows, [2, 0, 1])
