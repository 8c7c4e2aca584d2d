"""The work of one of several processes that fit one artifact together; `together.py` starts them.

Each plans the same experiment, finds the artifact by its content key, and calls the method's `fit`. The first writes
the artifact and says how far it is.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.engine import cost
from harness.engine.config import load_experiment
from harness.engine.limits import failure_reason
from harness.engine.plan import Node, Plan
from harness.engine.run import fit_as_one_of_several
from harness.engine.store.store import Store
from harness.engine.together import PROGRESS
from harness.engine.tuning import plans
from harness.engine.worker import end_with_the_run
from harness.errors import UserError
from harness.lazy import torch
from harness.method import FitContext
from harness.policy.batching import out_of_memory


def one_of_several() -> None:
    """The work of one process; the one argument is JSON, as `fit_together` writes it."""
    threading.Thread(target=end_with_the_run, daemon=True).start()
    asked, rank = json.loads(sys.argv[1]), int(os.environ["RANK"])
    told: dict[str, Any] = {}
    try:
        told = _told(asked, rank)
    except BaseException as error:  # a plugin may call `exit`
        user = [error.what, error.where, error.fix] if isinstance(error, UserError) else None
        memory = isinstance(error, Exception) and out_of_memory(error)
        told["error"] = {"reason": failure_reason(error), "user": user, "memory": memory}
        told["error"]["trace"] = traceback.format_exc()
        raise
    finally:
        Path(asked["scratch"], f"process-{rank}.json").write_text(json.dumps(told), "utf-8")
    torch.distributed.destroy_process_group()


def _told(asked: dict[str, Any], rank: int) -> dict[str, Any]:
    plan, node = _found(asked)
    if node.base.spec.device.startswith("cuda"):
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        # its own GPU, and not the first
        for base in plan.bases:
            base.spec = replace(base.spec, device="cuda")
    say = _shown if rank == 0 else lambda done, total, note: None
    context = FitContext(node.seed, asked["micro_batch"], say, processes=asked["processes"])
    out = Path(asked["out"])
    if rank:
        out = Path(asked["scratch"], f"{rank}")
        out.mkdir()
    with cost.PeakMemory(node.base.spec.device) as memory:
        report = fit_as_one_of_several(plan, Store(Path(asked["store"])), node, out, context)
    return {"report": {**vars(report), "notes": dict(report.notes)}, "notes": context.notes, "mb": memory.mb}


def _found(asked: dict[str, Any]) -> tuple[Plan, Node]:
    """The artifact to fit, with its plan. Raises UserError where the experiment has changed since."""
    for plan in plans(load_experiment(Path(asked["file"]), asked["settings"]), Path(asked["store"])):
        for node, _ in plan.groups():
            for one in (node, *node.beneath.values()):
                if one.key == asked["key"]:
                    return plan, one
    raise UserError(
        "the experiment changed while it ran, and one of its fits is by several processes",
        where=asked["file"],
        fix="Run it again.",
    )


def _shown(done: int, total: int, note: str) -> None:
    print(f"{PROGRESS}{json.dumps([done, total, note])}", flush=True)


if __name__ == "__main__":
    one_of_several()
