"""The command line as tests call it: in this process, where the heavy libraries are loaded already.

`in_a_process_of_its_own` starts it as a shell does; use it where the start itself, a signal or another
package's plugins are the point.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

from conftest import ROOT

from harness.cli.main import main

Done = subprocess.CompletedProcess[str]


def bakeoff(*words: object, folder: Path = ROOT) -> Done:
    """What a user's command prints, and its exit code; whatever is no user's mistake is raised."""
    heard, complaints = StringIO(), StringIO()
    argv, sys.argv = sys.argv, ["bakeoff", *map(str, words)]
    code: int | str | None = 0
    try:
        with contextlib.redirect_stdout(heard), contextlib.redirect_stderr(complaints), contextlib.chdir(folder):
            main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = argv
    assert code is None or isinstance(code, int), code
    return Done(["bakeoff", *map(str, words)], code or 0, heard.getvalue(), complaints.getvalue())


def in_a_process_of_its_own(*words: object, path: Path | None = None) -> Done:
    """The same through a new interpreter; `path` holds another package's plugins."""
    start = f"import sys; sys.path.insert(0, {str(path)!r}); " if path else ""
    code = f"{start}from harness.cli.main import main; main()"
    command = [sys.executable, "-c", code, *map(str, words)]
    # os.environ lacks the COLUMNS that readline puts into the environment which a child would inherit
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False, env=dict(os.environ)
    )
