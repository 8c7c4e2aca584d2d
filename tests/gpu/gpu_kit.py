"""Measure training, scoring and decoding on one machine: bf16 on a GPU in 8 minutes, or a tiny shape on a CPU.

    python3 tests/gpu/gpu_kit.py OUT                                # on a GPU: random weights of a 1.5B shape
    python3 tests/gpu/gpu_kit.py OUT --device cpu --shape tiny      # that it runs from end to end
    python3 tests/gpu/gpu_kit.py OUT --model FOLDER                 # with real weights, such as gemma-3-270m

OUT gets gpu.json and README.md. What fails is recorded with its reason and stops no other check; what would begin after
`--minutes` is recorded as not reached. A bare machine needs torch, transformers and peft of any versions within the
bounds of pyproject.toml, and the wheels that `gpu_parts.py` collects.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

LIBRARIES = ("torch", "transformers", "peft", "trl", "accelerate", "datasets", "tokenizers", "numpy")


def main(arguments: list[str] | None = None) -> int:
    """Run the checks and write what they found; 1 where one of them failed."""
    asked = options().parse_args(arguments)
    out, started = Path(asked.out), time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {
        "machine": machine(asked.device),
        "versions": versions(),
        "shape": asked.model or asked.shape,
    }
    with tempfile.TemporaryDirectory() as folder:
        found["checks"] = dict(results(asked, Path(folder), started))
    found["minutes"] = round((time.monotonic() - started) / 60, 2)
    (out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    (out / "README.md").write_text(page(found), "utf-8")
    failed = [name for name, one in found["checks"].items() if "failed" in one]
    print(f"{len(found['checks']) - len(failed)} checks done, failed: {', '.join(failed) or 'none'}; see {out}")
    return int(bool(failed))


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", help="folder for gpu.json and README.md")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shape", default="qwen2.5-1.5b", help="shape of the random weights")
    parser.add_argument("--small", default="", help="shape of the small base of proxy-tuning")
    parser.add_argument("--model", default="", help="a model folder, in place of random weights")
    parser.add_argument("--only", default="", help="checks, separated by commas; all if left out")
    parser.add_argument("--minutes", type=float, default=8.0, help="after so many no further check begins")
    return parser


def results(asked: argparse.Namespace, folder: Path, started: float) -> Any:
    """(name, figures) of every check."""
    import torch
    import transformers
    from gpu_checks import CHECKS, Rig, Size, free, made

    from harness.policy.base_model import BaseModel, BaseSpec

    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    if asked.device != "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
    tiny = asked.shape == "tiny" and not asked.model
    dtype = "float32" if asked.device == "cpu" else "bfloat16"
    if asked.model:
        spec = BaseSpec(asked.model, dtype=dtype, device=asked.device)
        base = small = BaseModel(spec, Path(asked.model).resolve())
    else:
        base = made(asked.shape, folder / "base", asked.device, dtype)
        small = made(asked.small or ("tiny" if tiny else "qwen2.5-0.5b"), folder / "small", asked.device, dtype, seed=1)
    size = Size(row=48, batch=4, updates=3, prompts=4, answer=8) if tiny else Size()
    rig = Rig(base, small, size, folder / "artifacts")
    rig.folder.mkdir()
    for name in [one for one in CHECKS if one in (asked.only.split(",") if asked.only else CHECKS)]:
        if (time.monotonic() - started) / 60 > asked.minutes:
            yield name, {"not reached": f"{asked.minutes:g} minutes were over"}
            continue
        try:
            yield name, CHECKS[name](rig)
        except Exception as error:
            yield name, {"failed": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
        if name not in ("decoding", "scoring"):
            base.release()
            small.release()
        free()
        print(f"{name}: {(time.monotonic() - started):.0f} s so far", flush=True)
    yield "plan --estimate", estimate(asked, base.folder, rig, folder)


def estimate(asked: argparse.Namespace, model: Path, rig: Any, folder: Path) -> dict[str, Any]:
    """What `bakeoff plan --estimate` says of the same fits, where this version has it."""
    from gpu_checks import data_of

    said = [
        [{"role": turn.role, "content": turn.content} for turn in row.messages] for row in data_of(rig).demonstrations
    ]
    rows = [{"messages": turns} for turns in said]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    own = f"{{epochs: 1, batch_size: {rig.size.batch}}}"
    (folder / "kit.yaml").write_text(
        f"bases: [{{name: {model}, device: {asked.device}, dtype: {rig.base.spec.dtype}}}]\n"
        f"data: {{demonstrations: {folder / 'rows.jsonl'}}}\nmicro_batch: {rig.size.batch}\n"
        f"methods: [{{sft: {own}}}, {{lora: {own}}}, {{loreft: {own}}}]\nbenchmarks: [perplexity]\n"
    )
    command = [sys.executable, "-m", "harness.cli.main", "plan", str(folder / "kit.yaml"), "--estimate"]
    where = {**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(
        [*command, "--store", str(folder / "store")], capture_output=True, text=True, env=where, check=False
    )
    lines = (done.stdout or done.stderr).strip().splitlines()
    return {"said": lines} if done.returncode == 0 else {"not there": lines[-1][:200] if lines else "no output"}


def machine(device: str) -> dict[str, str]:
    """The processor, and the GPU where there is one."""
    import torch

    gpu = torch.cuda.get_device_name(0) if device.startswith("cuda") else "none"
    return {"system": platform.platform(), "python": platform.python_version(), "device": device, "gpu": gpu}


def versions() -> dict[str, str]:
    """Library -> its version, and the bound of pyproject.toml where the version is outside of it."""
    from packaging.requirements import Requirement

    needed = [
        Requirement(line) for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    ]
    bounds = {one.name: one.specifier for one in needed}
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
            continue
        if name in bounds and not bounds[name].contains(found[name].split("+")[0], prereleases=True):
            found[name] += f" (outside {bounds[name]})"
    return found


def page(found: dict[str, Any]) -> str:
    """The figures as a page."""
    host = found["machine"]
    lines = ["# GPU kit", "", f"{host['gpu']} ({host['device']}), {host['system']}, {found['minutes']} minutes, "]
    lines[-1] += (
        f"shape {found['shape']}. " + ", ".join(f"{name} {one}" for name, one in found["versions"].items()) + "."
    )
    if host["device"] == "cpu":
        lines += [
            "",
            "This run on a CPU shows that the kit works from end to end; its figures claim nothing about a GPU.",
        ]
    lines += ["", "| check | figure | value |", "|---|---|---|"]
    for name, figures in found["checks"].items():
        for key, value in figures.items():
            if not isinstance(value, list):
                shown = f"{value:,.4g}" if isinstance(value, float) else str(value)
                lines.append(f"| {name} | {key.replace('_', ' ')} | {shown.replace('|', '/')} |")
    said = found["checks"].get("plan --estimate", {}).get("said", [])
    return "\n".join([*lines, *(["", "```", *said, "```"] if said else [])]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
