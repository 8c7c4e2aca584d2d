"""What `plan --estimate` foretells beside the peak that is measured, on the two real models in /tmp/models.

    pytest -m slow -s tests/performance/test_estimated_memory.py

Each fit (two updates of 8 rows) and each scoring of 64 answers runs in a process of its own, whose peak is counted
from what the interpreter holds once every library is imported.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from harness.benchmark import Benchmark, Metric, Outcome
from harness.engine.estimate import Estimator
from harness.engine.experiment import BenchmarkEntry, Experiment, MethodEntry
from harness.engine.plan import Cell, Node, Plan
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.policy import Policy
from harness.policy.types import Prompt
from harness.records import DataChoice, Message
from harness.training.footprint import training_memory
from harness.training.loop import Optimisation
from harness.training.pieces import tokens_at_once
from methods.base import Base
from methods.lora import Lora
from methods.sft import Sft

FOLDER = Path("/tmp/models")
MODELS = ("gemma-3-270m", "smollm2-135m-instruct")
LENGTH, ROWS = 200, 8
HOW = ("sft", "checkpointing", "lora", "scoring", "qlora")
"""The last one where bitsandbytes is installed."""
WORK = """
import sys, tempfile, time
from pathlib import Path
import datasets, peft, torch, transformers, trl
import harness.training.trl
from harness.engine.cost import PeakMemory, peak_memory_mb
from harness.method import FitContext
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.types import Prompt
from harness.records import Demonstration, Message, TrainingData
from methods.lora import Lora
from methods.sft import Sft

folder, how, length, rows = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(1)
base = BaseModel(BaseSpec(str(folder), dtype="float32"), folder)
word = " the"
turns = (Message("user", "Go on."), Message("assistant", word * length))
data = TrainingData(demonstrations=(Demonstration(turns, "0"),) * rows)
settings = dict(epochs=2, batch_size=rows, max_length=length)
base.encoder
own = dict(sft=Sft(**settings), lora=Lora(**settings), checkpointing=Sft(activation_checkpointing=True, **settings),
           qlora=Lora(quantized="nf4", **settings))
before = int(next(l for l in open("/proc/self/status") if l.startswith("VmRSS")).split()[1]) / 1024
start = time.process_time()
with tempfile.TemporaryDirectory() as out, PeakMemory("cpu") as memory:
    if how == "scoring":
        prompts = [Prompt(messages=(Message("user", f"{number}" + word * length),)) for number in range(16)]
        base.policy().score([prompt for prompt in prompts for _ in range(4)], [word * 4, word * 8, "a", "b"] * 16)
    else:
        own[how].fit(base, data, {}, Path(out), FitContext(0, rows))
print("RESULT", memory.mb - before, time.process_time() - start)
"""


def measured(model: str, how: str) -> tuple[float, float]:
    """The peak in GB, and CPU seconds."""
    command = [sys.executable, "-c", WORK, str(FOLDER / model), how, str(LENGTH), str(ROWS)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    mebibytes, seconds = map(float, done.stdout.split("RESULT")[1].split())
    return mebibytes * 2**20 / 1e9, seconds


def foretold(model: str, how: str) -> float:
    """The estimate in GB of the same work."""
    folder = FOLDER / model
    base = BaseModel(BaseSpec(str(folder), dtype="float32"), folder)
    if how == "scoring":
        entry = BenchmarkEntry("asked", "asked", Questions())
        node = Node(Base(), base, DataChoice(), 0, {}, {})
        cell = Cell(MethodEntry("base", "base", node.method), entry, node, DataChoice(), 0, {})
        work = Estimator(Plan(EXPERIMENT, [cell], [base], []), timed=False).cell(cell)
        assert work.peak, work.why
        return work.peak / 1e9
    adapters = {"lora": Lora(), "qlora": Lora(quantized="nf4")}
    method = adapters.get(how) or Sft(activation_checkpointing=how == "checkpointing")
    memory = training_memory(
        base.config,
        "float32",
        method.footprint,
        Optimisation.of(method),
        rows=(rows := min(ROWS, max(1, int(tokens_at_once(base.config) // LENGTH)))),
        tokens=LENGTH,
        logits=rows * LENGTH,
        divided=rows < ROWS,
    )
    held = {"accumulates": rows < ROWS, "first": False, "paged": False}
    return memory.peak(**held, checkpointed=how == "checkpointing") / 1e9


class Questions(Benchmark):
    """What `WORK` scores."""

    version, needs = 1, frozenset({"score"})

    def metrics(self) -> tuple[Metric, ...]:
        return ()

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        prompts = [Prompt(messages=(Message("user", f"{number}" + " the" * LENGTH),)) for number in range(16)]
        policy.score([prompt for prompt in prompts for _ in range(4)], [" the" * 4, " the" * 8, "a", "b"] * 16)
        yield from ()


EXPERIMENT = Experiment(
    file=Path("x.yaml"),
    text="",
    name="x",
    bases=(BaseSpec("x"),),
    methods=(MethodEntry("base", "base", Base()),),
    benchmarks=(BenchmarkEntry("asked", "asked", Questions()),),
)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_estimates_are_within_a_quarter_of_measured_peaks(model: str) -> None:
    if not (FOLDER / model).exists():
        pytest.skip(f"needs {FOLDER / model}")
    apart = {}
    for how in HOW if find_spec("bitsandbytes") else HOW[:-1]:
        estimate, (peak, seconds) = foretold(model, how), measured(model, how)
        apart[how] = estimate / peak - 1
        said = f"estimate {estimate:.2f} GB, peak {peak:.2f} GB ({apart[how]:+.0%}), {seconds:.0f} s of CPU"
        print(f"\n{model}, {how}: {said}", flush=True)
    assert max(map(abs, apart.values())) < 0.25, apart
