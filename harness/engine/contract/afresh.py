"""Loading an artifact in a process that shares nothing with the one that trained it."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from harness.engine.contract.bench import Bench
from harness.engine.contract.tiny import COMPLETIONS, PROMPTS
from harness.method import Method
from harness.policy.types import Score

HEAVY = [
    "torch",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
    "peft",
    "harness.engine.contract.bench",
]


def scores_in_a_new_process(method: Method, folder: Path) -> list[Score]:
    """What the artifact of seed 0 in a bench's folder scores, with as many threads as here.

    The process comes from a clean interpreter, with its own hash seed, that has only imported the libraries. It is
    started once and asked for every method, since the imports take seconds.
    """
    import torch

    clean = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(clean)
    if clean == "forkserver":
        context.set_forkserver_preload(HEAVY)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_scores, method, folder, torch.get_num_threads()).result()


def _scores(method: Method, folder: Path, threads: int) -> list[Score]:
    import torch

    from harness.engine.contract.quiet import quiet

    quiet()
    torch.set_num_threads(threads)
    return Bench(method, folder).reopened().score(PROMPTS, COMPLETIONS)
