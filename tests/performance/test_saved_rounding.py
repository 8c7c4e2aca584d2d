"""What saving a fully fine-tuned bfloat16 model in bfloat16 loses, over learning rates.

    pytest -m slow -s tests/performance/test_saved_rounding.py

microworld/small, cast to bfloat16, is fine-tuned with sft on 64 curated demonstrations for 12 updates. Each row of the
table holds the share of weights that training moved and that still differ from the base after saving in bfloat16, the
length of the saved update relative to the trained one and its part in the trained direction, and the mean rise of log p
of the demonstrations' answers over the base: of the trained weights in float32, and of the saved ones in bfloat16.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
from pathlib import Path

import pytest
import torch

from harness.data.load import DataSpec, load_set
from harness.files import HARNESS
from harness.method import FitContext
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.types import Prompt
from harness.records import TrainingData
from methods.sft import Sft

RATES = (1e-6, 1e-5, 1e-4)
FOLDER = HARNESS / "microworld" / "models" / "small"


def base_in(dtype: str) -> BaseModel:
    return BaseModel(BaseSpec("microworld/small", dtype=dtype), FOLDER)  # type: ignore[arg-type]


def weights_of_model(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([weight.detach().float().flatten() for weight in model.parameters()])


@pytest.mark.slow
def test_small_updates_are_lost_where_a_fine_tuned_model_is_saved_in_bfloat16() -> None:
    torch.set_num_threads(1)
    data = TrainingData(load_set("demonstrations", DataSpec("microworld/curated-1k"), "").records[:64])
    prompts = [Prompt(messages=row.messages[:-1]) for row in data.demonstrations]
    answers = [row.messages[-1].content for row in data.demonstrations]
    narrow, wide = base_in("bfloat16"), base_in("float32")
    start = weights_of_model(narrow.policy().model)

    def rise(policy: object, base: BaseModel) -> float:
        own, other = (one.score(prompts, answers) for one in (policy, base.policy()))  # type: ignore[attr-defined]
        return statistics.mean(a.logprob - b.logprob for a, b in zip(own, other, strict=True))

    print(f"\n{'rate':>8} {'moved':>8} {'kept':>8} {'length':>8} {'direction':>10} {'float32':>9} {'bfloat16':>9}")
    for rate in RATES:
        method = Sft(learning_rate=rate, warmup_ratio=0.0, schedule="constant")
        found = {}
        for saved in ("float32", "base"):
            own = dataclasses.replace(method, saved_in=saved)
            with tempfile.TemporaryDirectory() as out:
                own.fit(narrow, data, {}, Path(out), FitContext(0, 16))
                found[saved] = own.load(narrow, Path(out), {})
        trained, kept = (weights_of_model(found[saved].model) - start for saved in ("float32", "base"))
        length = float(kept.norm() / trained.norm())
        along = float(kept @ trained / trained.norm() ** 2)
        exact, lossy = rise(found["float32"], wide), rise(found["base"], narrow)
        shares = [float((update != 0).float().mean()) for update in (trained, kept)]
        weights = f"{shares[0]:>8.1%} {shares[1]:>8.1%} {length:>8.2f} {along:>10.2f}"
        print(f"{rate:>8.0e} {weights} {exact:>9.4f} {lossy:>9.4f}")
        assert shares[1] < shares[0]
        if rate < 1e-5:
            assert lossy < 0.5 * exact
