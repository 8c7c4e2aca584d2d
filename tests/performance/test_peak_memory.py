"""Peak memory of one update on 8 rows of 300 tokens: plainly, with the loss in blocks, and with checkpointing.

    pytest -m slow -s tests/performance/test_peak_memory.py

Each in a process of its own, on a random model of 40 million parameters with a vocabulary of 49,152. Where
/tmp/models has smollm2-135m-instruct, the same on that model.
"""

from __future__ import annotations

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
from harness.training import blocks
from harness.training.labelled_rows import TrainingRow, TrainingRows
from harness.training.loop import Optimisation, train

torch.set_num_threads(1)
torch.manual_seed(0)
folder, plain, checkpointing = sys.argv[1], sys.argv[2] == "plain", sys.argv[2] == "checkpointing"
if folder:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
else:
    shape = dict(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1024)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=49152, tie_word_embeddings=True, **shape))
if plain:
    blocks.BLOCK = 1 << 40
class Base:
    spec = type("Spec", (), {"dtype": "float32", "device": "cpu"})
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=__import__("tokenizers").Tokenizer(__import__("tokenizers").models.WordLevel({"a": 0}, "a")),
        eos_token="a", pad_token="a")
ids = torch.randint(1, 49152, (8, 300)).tolist()
rows = TrainingRows(tuple(TrainingRow(row, [-100] * 20 + row[20:]) for row in ids))
settings = Optimisation(1e-5, 1, 8, activation_checkpointing=checkpointing)
start = time.process_time()
report = train(model, rows, Base, settings, FitContext(0, 8))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(f"RESULT {peak} {time.process_time() - start} {report.notes['loss'][0][1]}")
"""


def measured(folder: str, how: str) -> tuple[float, float, float]:
    """(peak memory in GB, CPU seconds, loss of the update) of one fit."""
    command = [sys.executable, "-c", FIT, folder, how]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    peak, seconds, loss = map(float, line.split()[1:])
    return peak, seconds, loss


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["", REAL_MODEL])
def test_blocks_and_checkpointing_save_memory_and_leave_the_loss(folder: str) -> None:
    found = {how: measured(folder, how) for how in ("plain", "blocks", "checkpointing")}
    for how, (peak, seconds, loss) in found.items():
        print(f"\n{Path(folder).name or 'random, 40M'}, {how}: {peak:.2f} GB, {seconds:.0f} s of CPU, loss {loss:.6f}")
    peaks = [peak for peak, _, _ in found.values()]
    assert peaks == sorted(peaks, reverse=True)
    losses = [loss for _, _, loss in found.values()]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-6)
    if folder:
        assert peaks[-1] < 3.0, "the aim is 4 GB"
