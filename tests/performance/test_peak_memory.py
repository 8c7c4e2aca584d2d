"""Peak memory and CPU seconds of updates on 8 rows of 300 tokens, by what is held at once.

    pytest -m slow -s tests/performance/test_peak_memory.py         (ROUNDS=3 in front of it: so often, in turn)

whole: all rows and their logits; blocks: the loss in blocks; pieces: rows in pieces too, which is how it is by default;
checkpointing: that with activation_checkpointing. Each fit (two updates; in the second, the optimizer's averages are
there) is a process of its own, on a random model of 40 million parameters with 49,152 tokens. Where /tmp/models
has smollm2-135m-instruct, the same on that model.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

REAL = Path("/tmp/models/smollm2-135m-instruct")
REAL_MODEL = pytest.param(str(REAL), marks=pytest.mark.skipif(not REAL.exists(), reason=f"needs {REAL}"))
FIT = """
import resource, sys, tempfile, time
from pathlib import Path
import torch, transformers, trl
from harness.method import FitContext
from harness.training import blocks, pieces
from harness.training.labelled_rows import TrainingRow, TrainingRows
from harness.training.loop import Optimisation, train

torch.set_num_threads(1)
torch.manual_seed(0)
folder, how = sys.argv[1:]
if folder:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
else:
    shape = dict(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1024)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=49152, tie_word_embeddings=True, **shape))
if how == "whole":
    blocks.BLOCK = 1 << 40
if how in ("whole", "blocks"):
    pieces.STATES = 1 << 40
class Base:
    spec = type("Spec", (), {"dtype": "float32", "device": "cpu"})
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=__import__("tokenizers").Tokenizer(__import__("tokenizers").models.WordLevel({"a": 0}, "a")),
        eos_token="a", pad_token="a")
ids = torch.randint(1, 49152, (16, 300)).tolist()
rows = TrainingRows(tuple(TrainingRow(row, [-100] * 20 + row[20:]) for row in ids))
settings = Optimisation(1e-5, 1, 8, activation_checkpointing=how == "checkpointing")
start = time.process_time()
report = train(model, rows, Base, settings, FitContext(0, 8))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
print(f"RESULT {peak} {time.process_time() - start} {report.notes['loss'][-1][1]}")
"""


HOW = ("whole", "blocks", "pieces", "checkpointing")
ROUNDS = int(os.environ.get("ROUNDS", 1))


def measured(folder: str, how: str) -> tuple[float, float, float]:
    """(peak memory in GB, CPU seconds, loss of the last update) of one fit."""
    command = [sys.executable, "-c", FIT, folder, how]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    peak, seconds, loss = map(float, line.split()[1:])
    name = Path(folder).name or "random, 40M"
    print(f"\n{name}, {how}: {peak:.2f} GB, {seconds:.1f} s of CPU, loss {loss:.6f}", end="", flush=True)
    return peak, seconds, loss


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["", REAL_MODEL])
def test_blocks_pieces_and_checkpointing_save_memory_and_leave_the_loss(folder: str) -> None:
    rounds = [{how: measured(folder, how) for how in (HOW, HOW[::-1])[number % 2]} for number in range(ROUNDS)]
    peak, seconds = ({how: statistics.median(one[how][at] for one in rounds) for how in HOW} for at in (0, 1))
    print(f"\npieces: {seconds['pieces'] / seconds['blocks']:.2f} x the CPU seconds of the same fit without them")
    assert peak["checkpointing"] < peak["pieces"] < peak["blocks"] < peak["whole"]
    losses = [loss for one in rounds for _, _, loss in one.values()]
    assert losses == pytest.approx([losses[0]] * len(losses), rel=1e-6)
    if folder:
        assert peak["pieces"] <= 4.0, "the aim is 4 GB"
