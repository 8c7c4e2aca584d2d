"""`bakeoff check`: a plugin that breaks one promise fails that clause and no other, and says how."""

from __future__ import annotations

import importlib
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import bakeoff

from harness.cli.check import asked
from harness.engine import registry
from harness.engine.contract.bench import Bench, quick
from harness.engine.contract.clauses import CLAUSES, try_clause
from harness.engine.contract.isolation import offline

SOUND = '''"""A method of another package: the base, with an artifact of its own."""

import json
import os
import socket
from dataclasses import dataclass

from harness.policy.causal import CausalPolicy
from harness.method import FitReport, Method

FITTED = []


@dataclass(frozen=True)
class Plugin(Method):
    """Changes nothing."""

    trains = False

    def fit(self, base, data, inputs, out, context):
        HERE
        (out / "number.json").write_text(json.dumps(1))
        return FitReport()

    def load(self, base, artifact, inputs):
        THERE
        return base.policy()


class Moody(CausalPolicy):
    def score(self, prompts, completions):
        scores = super().score(prompts, completions)
        return [type(s)(s.logprob - 1, s.tokens, s.is_greedy, s.token_logprobs) for s in scores]


class Crowded(CausalPolicy):
    def prefill(self, prompts):
        logits, state = super().prefill(prompts)
        return logits * (1 + 0.001 * len(prompts)), state
'''
BASE = "fitting_and_loading_leave_the_shared_bases_bit_for_bit"
PATHS = "no_text_of_an_artifact_is_an_absolute_path"
FILES = "an_artifact_holds_plain_files_without_absolute_paths"
BROKEN = {
    "nothing": ("pass", "pass", (), ()),
    "the small base": ("base.small.policy().model.lm_head.weight[0].mul_(2)", "pass", (BASE,), ("lm_head.weight",)),
    "its seed": (
        "(out / 'noise.json').write_text(json.dumps(os.urandom(8).hex()))",
        "pass",
        ("equal_seeds_give_equal_bytes", "other_seeds_give_other_bytes"),
        ("noise.json",),
    ),
    "its memory": (
        "FITTED.append(1)",
        "if not FITTED: return Moody(base.policy().model, base.encoder)",
        ("a_new_process_scores_alike_to_the_last_bit",),
        ("for item 0",),
    ),
    "its files": ("(out / 'weights.bin').write_bytes(b'1')", "pass", (FILES,), ("weights.bin",)),
    "its paths": (
        "(out / 'place.json').write_text(json.dumps(str(out.parent)))",
        "pass",
        (FILES, PATHS),
        ("in place.json",),
    ),
    "the silence": (
        "try: socket.create_connection(('203.0.113.1', 9), 1)\n        except OSError: pass",
        "pass",
        ("nothing_is_fetched_from_the_network",),
        ("203.0.113.1",),
    ),
    "its batches": (
        "pass",
        "return Crowded(base.policy().model, base.encoder)",
        ("batching_moves_nothing_beyond_rounding",),
        ("a difference of",),
    ),
}


def written(folder: Path, module: str, here: str, there: str) -> str:
    """The source of a plugin with these statements in `fit` and `load`, as a module of the folder."""
    text = SOUND.replace("THERE", there).replace("HERE", here)
    (folder / f"{module}.py").write_text(text)
    return text


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Puts a package on the path whose entry point registers a plugin as `mine`; gives the plugin's file."""
    registry._outside.cache_clear()
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda here: package(tmp_path, here)
    registry._outside.cache_clear()
    sys.modules.pop("mine_method", None)


def package(folder: Path, here: str) -> Path:
    """The file of a plugin with this statement in `fit`, in a package of its own."""
    written(folder, "mine_method", here, "pass")
    info = folder / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bakeoff.methods]\nmine = mine_method:Plugin\n")
    return folder / "mine_method.py"


# each is a whole contract: the other half runs with `make test-all`
OFTEN = ("nothing", "the small base", "its seed", "its batches")


@pytest.mark.parametrize(
    "broken", [name if name in OFTEN else pytest.param(name, marks=pytest.mark.slow) for name in BROKEN]
)
def test_a_plugin_fails_the_clauses_about_what_it_breaks_and_no_others(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there, clauses, said = BROKEN[broken]
    module = f"breaks_{broken.replace(' ', '_')}"
    written(tmp_path, module, here, there)
    monkeypatch.syspath_prepend(tmp_path)
    method = importlib.import_module(module).Plugin()
    bench = Bench(quick(method), tmp_path / "bench")
    verdicts = {clause.__name__: try_clause(clause, bench, tmp_path / f"{module}.py") for clause in CLAUSES}
    failed = {name: verdict for name, verdict in verdicts.items() if verdict.state == "failed"}
    assert tuple(failed) == clauses
    for verdict in failed.values():
        assert all(word in verdict.found for word in said), verdict


def test_a_sound_method_exits_with_0_and_names_each_skipped_clauses_reason() -> None:
    done = bakeoff("check", "base")
    assert done.returncode == 0, done.stdout
    assert "passed   it fits and loads" in done.stdout
    assert "skipped  training on preferences widens their margins: it does not learn preferences" in done.stdout
    assert "bakeoff plan" in done.stdout


def test_another_packages_method_that_breaks_a_promise_exits_with_1_and_says_what_was_found(
    install: Callable[[str], Path],
) -> None:
    file = install("(out / 'weights.bin').write_bytes(b'1')")
    done = bakeoff("check", "mine")
    assert done.returncode == 1, done.stderr
    assert "FAILED   an artifact holds plain files without absolute paths" in done.stdout
    assert "found weights.bin" in done.stdout
    assert "1 failed" in done.stdout
    assert f"Next: fix {file}, then: bakeoff check mine" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_policy_without_an_encoder_and_words_that_nobody_knows_are_found_out(install: Callable[[str], Path]) -> None:
    file = install("pass")
    declared = '    trains = False\n    gives = frozenset({"sample", "texts"})\n'
    text = file.read_text().replace("    trains = False\n", declared, 1)
    text = text.replace("        return base.policy()\n", "        return Mute()\n", 1)
    file.write_text(
        text
        + "\n\nfrom harness.policy.policy import Policy\n"
        + "from harness.policy.types import Completion\n\n\nclass Mute(Policy):\n"
        + "    def sample(self, prompts, sampling, keys):\n"
        + "        return [(Completion('', (), 'stop'),) * sampling.samples for _ in prompts]\n"
    )
    done = bakeoff("check", "mine")
    assert done.returncode == 1
    assert "FAILED   it declares what the engine knows" in done.stdout
    assert "found texts" in done.stdout
    assert "FAILED   its policy says how it reads a prompt" in done.stdout
    assert "`self.encoder = base.encoder`" in done.stdout


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("import os\n", "import nothing_there\n"), "does not load: ModuleNotFoundError"),
        (("    trains = False\n", "    trains = False\n    prefix = 3 +\n"), "does not load: SyntaxError"),
        (("    def load(", "    def lode("), "does not define load"),
    ],
)
def test_a_plugin_that_does_not_load_is_told_without_a_traceback(
    install: Callable[[str], Path], change: tuple[str, str], words: str
) -> None:
    file = install("pass")
    file.write_text(file.read_text().replace(*change, 1))
    done = bakeoff("show", "mine")
    assert done.returncode == 2, done.stdout
    assert words in done.stderr
    assert str(file) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_fit_that_raises_is_one_clause_with_the_line_at_fault(install: Callable[[str], Path]) -> None:
    file = install("raise RuntimeError('broken here')")
    done = bakeoff("check", "mine")
    assert done.returncode == 1, done.stderr
    line = 1 + SOUND.split("\n").index("        HERE")
    assert f"found RuntimeError: broken here ({file}:{line})" in done.stdout
    assert done.stdout.count("FAILED") == 1
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bse", ["no method is called 'bse'", "Did you mean 'base'?"]),
        ("{prompting: {demonstration: 2}}", ["no field 'demonstration'", "Did you mean 'demonstrations'?"]),
        ("{prompting: [", ["broken YAML"]),
        ("3", ["expected a plugin, got 3"]),
    ],
)
def test_a_users_mistake_exits_with_2_and_names_what_is_near(text: str, said: list[str]) -> None:
    done = bakeoff("check", text)
    assert done.returncode == 2
    assert all(word in done.stderr for word in said), done.stderr


def test_a_field_that_is_given_is_kept_and_others_are_made_quick() -> None:
    method, given = asked("{prompting: {demonstrations: 3}}")
    assert quick(method, keep=given).demonstrations == 3  # type: ignore[attr-defined]
    assert quick(asked("prompting")[0]).demonstrations == 2  # type: ignore[attr-defined]


def test_names_that_are_looked_up_are_refused_and_this_machine_is_not() -> None:
    attempts: list[str] = []
    with offline(attempts):
        with pytest.raises(OSError, match="no network here"):
            socket.getaddrinfo("example.org", 80)
        assert socket.getaddrinfo("127.0.0.1", 80)
    assert attempts == ["example.org"]
    assert socket.getaddrinfo.__name__ == "getaddrinfo"
