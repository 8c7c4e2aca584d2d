"""Collect the wheels that the kit needs on a bare machine which has torch, transformers and peft, and no network.

    .venv/bin/python tests/gpu/gpu_parts.py          # into .gpu_parts/, which git ignores; 60 MB at most

There: python3 -m pip install --no-index --no-deps --target /tmp/site .gpu_parts/*.whl
       PYTHONPATH=/tmp/site python3 tests/gpu/gpu_kit.py results/gpu
pip fetches for that machine's Python (3.12 unless `--python` says otherwise), whatever Python runs this.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

PARTS = Path(__file__).resolve().parents[2] / ".gpu_parts"
# such a machine has these beside torch: accelerate, numpy, pandas, pyarrow, regex, rich, filelock, jinja2, typer
NEEDED = ("trl", "datasets", "dill", "multiprocess", "pydantic", "pydantic_core", "annotated_types", "ruamel.yaml",
          "typing_inspection", "lemminflect")  # fmt: skip
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
LARGEST = 60 * 2**20


def command(folder: Path, python: str) -> list[str]:
    """pip's command: the versions that are installed here, without what they need in turn."""
    platforms = [part for name in PLATFORMS for part in ("--platform", name)]
    wanted = [f"{name}=={version(name)}" for name in NEEDED]
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--implementation", "cp"]
    return [*pip, "--python-version", python, *platforms, "-d", str(folder), *wanted]


def main(arguments: list[str] | None = None) -> int:
    """Fetch the wheels; 1 where they are too large to be carried."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--python", default="3.12")
    asked = parser.parse_args(arguments)
    PARTS.mkdir(exist_ok=True)
    for old in PARTS.glob("*.whl"):
        old.unlink()
    subprocess.run(command(PARTS, asked.python), check=True)
    size = sum(file.stat().st_size for file in PARTS.glob("*.whl"))
    print(f"{size / 2**20:.1f} MB in {PARTS}")
    return int(size > LARGEST)


if __name__ == "__main__":
    sys.exit(main())
