"""The command line. Only typer is imported here and in `data`; a verb's modules are loaded when it is called.

Exit codes: 0 all done; 1 some cells failed, a method broke a clause of its contract, or a results folder failed
verification; 2 a user's mistake, or interrupted.
"""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.data import app as data_app
from harness.engine.showable import clean, message
from harness.engine.store.store import DEFAULT_STORE, place_of
from harness.errors import UserError, did_you_mean

OF_THE_MACHINE = {errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO}
"""Errors that say what is wrong with a place on the disk, and nothing about the program."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    # plain help: drawing boxes would cost half of the start
    rich_markup_mode=None,
)
microworld = typer.Typer(help="Pretrain the embedded tiny models.", no_args_is_help=True)
app.add_typer(microworld, name="microworld")
app.add_typer(data_app, name="data")

ExperimentFile = Annotated[Path, typer.Argument(metavar="EXPERIMENT", help="an experiment file (YAML)")]
ResultsFolder = Annotated[Path, typer.Argument(metavar="FOLDER", help="a results folder")]
StorePlace = Annotated[
    Any,
    typer.Option(
        "--store",
        envvar="BAKEOFF_STORE",
        metavar="FOLDER|URL",
        parser=lambda given: place_of(str(given)),
        help="the folder of artifacts and outcomes, or a URL (s3://, gs://, hf://) that machines share",
    ),
]
Settings = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="LABEL.FIELD=VALUE", help="change a field of an entry, or a top-level key: KEY=VALUE"
    ),
]
Out = Annotated[Path | None, typer.Option("--out", help="the results folder (default: next to the experiment file)")]


def _one_of(name: str, *words: str) -> Callable[[str], str]:
    """A parser of an argument that is one of these words; typer's own says `Value error` as pydantic does."""

    def parse(given: str) -> str:
        if given in words:
            return given
        *others, last = words
        known = f"{', '.join(others)} or {last}" if others else last
        raise UserError(f"{name} is {given!r}, which is not {known}", fix=did_you_mean(given, words))

    return parse


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"bakeoff {version('bakeoff')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Which way of aligning a language model works best on my base model, and what does it cost me?"""


@app.command("list")
def list_command(
    kind: Annotated[str, typer.Argument(help="methods, benchmarks, models or data; all by default")] = "all",
) -> None:
    """List methods, benchmarks, shipped models and data sets."""
    from harness.cli.listing import listing
    from harness.cli.screen import known_width, printer

    say = printer()
    for line in listing(kind, known_width() or 80):
        say(line)
    say("\nNext: bakeoff show NAME")


@app.command("show")
def show_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="a method, benchmark, model or training set")],
) -> None:
    """Show the description, needs and fields of a method or benchmark, or the figures of a model or training set."""
    from harness.cli.screen import known_width, printer
    from harness.cli.showing import details

    say = printer()
    for line in details(name, known_width()):
        say(line)


@app.command("check")
def check_command(
    plugin: Annotated[str, typer.Argument(help="a method or benchmark, or '{name: {field: value}}'")],
) -> None:
    """Check a method or benchmark against every clause of its contract.

    A method runs on tiny random models, in seconds and without GPU or network; a benchmark scores policies that answer
    at random.
    """
    from harness.cli.check import check_verb

    raise typer.Exit(check_verb(plugin))


@app.command("new")
def new_command(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", parser=_one_of("KIND", "method", "benchmark", "ledger"), help="method, benchmark or ledger"
        ),
    ],
    name: Annotated[str, typer.Argument(help="its name in experiments, such as my_method")],
    package: Annotated[
        bool, typer.Option("--package", help="write a package of your own with an entry point: the folder bakeoff-NAME")
    ] = False,
    into: Annotated[
        Path | None, typer.Option("--into", metavar="FOLDER", help="add it to a package that --package wrote")
    ] = None,
) -> None:
    """Write a new method or benchmark that works, with its test, to be changed into yours; or an entry of the ledger.

    In a checkout of bakeoff the file goes where the others are; anywhere else use --package, and --into for the further
    plugins of that package. `new ledger NAME` writes the folder of a public comparison to be run again.
    """
    from harness.cli.new import new_entry, new_verb

    if kind == "ledger":
        if package or into:
            raise UserError("an entry of the ledger is not a package", fix="Leave --package and --into out.")
        new_entry(name)
    else:
        new_verb(kind, name, package=package, into=into)


@app.command("check-model")
def check_model_command(
    name: Annotated[str, typer.Argument(help="microworld/SIZE, a folder, or a Hugging Face id")],
    template: Annotated[str, typer.Option("--chat-template", metavar="FILE", help="a Jinja file to use instead")] = "",
    date: Annotated[str, typer.Option("--date", help="today's date for the template, as YYYY-MM-DD")] = "",
) -> None:
    """Check a base model's tokenizer and chat template.

    It reads no weights. Each line says what was found and what every method does about it. Exit code 1: a check failed.
    """
    from harness.cli.check import check_model_verb

    raise typer.Exit(check_model_verb(name, template, date))


@app.command("init")
def init_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="the experiment to write")] = Path("mine.yaml"),
    base: Annotated[str, typer.Option("--base", help="a Hugging Face id, a folder, or microworld/large")] = "",
    data: Annotated[
        list[str], typer.Option("--data", metavar="[KIND=]NAME", help="a file, a folder, or a Hugging Face id")
    ] = [],  # noqa: B006
    methods: Annotated[str, typer.Option("--methods", metavar="NAME,...", help="the methods to compare")] = "",
    budget: Annotated[str, typer.Option("--budget", help="quick, standard or thorough: 1, 3 or 5 seeds")] = "",
    small_base: Annotated[str, typer.Option("--small-base", help="for methods that need a small model")] = "",
) -> None:
    """Write a commented experiment from four answers: base, data, methods and budget.

    On a terminal it asks for those that no option gives. `plan` accepts what it writes.
    """
    from harness.cli.init import init_verb

    init_verb(file, base, data, methods, budget, small_base)


@app.command("plan")
def plan_command(
    file: ExperimentFile,
    store: StorePlace = DEFAULT_STORE,
    settings: Settings = [],  # noqa: B006
    power: Annotated[bool, typer.Option("--power", help="show what the run can decide, and with what chance")] = False,
    pilot: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", help="results whose rows give --power its variances, not priors"),
    ] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="show the memory, work and time of every part")] = False,
    memory: Annotated[str, typer.Option("--memory", metavar="GB,...", help="sizes that --estimate compares")] = "24,80",
    wide: Annotated[bool, typer.Option("--wide", help="show memory by purpose in --estimate's tables")] = False,
) -> None:
    """Show every cell and its state, or with --power the chance that the run decides each question.

    Changes nothing, and loads no model: only --estimate times one, where its weights are here.
    """
    from harness.cli.verbs import plan_verb, power_verb

    if estimate:
        from harness.cli.estimating import estimate_verb

        estimate_verb(file, store, settings, memory, wide=wide)
    elif power or pilot is not None:
        power_verb(file, store, settings, pilot)
    else:
        plan_verb(file, store, settings)


@app.command("run")
def run_command(
    file: ExperimentFile,
    store: StorePlace = DEFAULT_STORE,
    out: Out = None,
    settings: Settings = [],  # noqa: B006
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="try failed cells again")] = False,
    workers: Annotated[int, typer.Option("--workers", metavar="N", help="number of processes that share the work")] = 1,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="decided",
            parser=_one_of("--until", "decided"),
            help="release methods whose questions a look of `stop` has decided",
        ),
    ] = None,
    slurm: Annotated[
        str | None,
        typer.Option("--slurm", metavar="OPTION=VALUE,...", help="have jobs of Slurm do the work, --workers of them"),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option("--ray", metavar="ADDRESS", help="have a Ray cluster do the work: HOST:PORT of its head, or auto"),
    ] = None,
    ray_task: Annotated[
        str,
        typer.Option(
            "--ray-task", metavar="NAME=VALUE,...", help="what each task needs: gpus, cpus, memory (GB) and retries"
        ),
    ] = "",
) -> None:
    """Fill the matrix and write the report. Finished work is never repeated.

    With --until decided, methods get no more work once the looks that the block `stop` declares have decided every
    comparison of theirs with the baseline; the report's error rates hold under stopping.

    With --slurm partition=gpu,gpus=1,time=120 (minutes) jobs do the work on a store that all machines mount, and this
    command waits for them. It may be ended and called again (docs/clusters.md).
    """
    from harness.cli.running import run_verb
    from harness.engine.ray_cluster import cluster_of

    if ray_task and ray is None:
        raise UserError("--ray-task is given without --ray", fix="Name the cluster. Example: --ray auto")
    try:
        code = run_verb(
            file, store, out, settings, retry_failed=retry_failed, processes=workers, until=until or "", slurm=slurm,
            cluster=None if ray is None else cluster_of(ray, ray_task),
        )  # fmt: skip
    except KeyboardInterrupt:
        typer.echo("Interrupted. Finished work is kept; the same command continues.")
        code = 2
    raise typer.Exit(code)


@app.command("gc")
def gc_command(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[EXPERIMENT]...", help="experiments whose unfinished cells keep theirs"),
    ] = None,
    store: StorePlace = DEFAULT_STORE,
    settings: Settings = [],  # noqa: B006
    delete: Annotated[bool, typer.Option("--delete", help="delete it; without this option nothing is changed")] = False,
) -> None:
    """Prune the store: artifacts that no unfinished cell needs, and what killed runs left.

    Shows what would be freed and what is kept, with the reason. Outcomes stay: finished cells are reported, verified
    and found done as before. A cell that needs a pruned artifact fits it again.
    """
    from harness.cli.verbs import gc_verb

    gc_verb(files or [], store, settings, delete=delete)


@app.command("report")
def report_command(folder: ResultsFolder) -> None:
    """Write report.md and report.html again from a results folder."""
    from harness.report.compose import write_report

    for path in write_report(folder):
        typer.echo(clean(str(path)))


@app.command("judge")
def judge_command(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="files and folders of scores, or METHOD=PATH, or METHOD/SEED=PATH"),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="the results folder to write")] = Path("judged"),
    baseline: Annotated[
        str, typer.Option("--baseline", metavar="METHOD", help="the method that others are compared with (the first)")
    ] = "",
) -> None:
    """Compare models on scores that others measured, and write the report.

    Reads folders of `lm_eval --log_samples`, records of Every Eval Ever with their samples, and tables (CSV, Parquet)
    with the columns method, seed, item and score.
    Runs no model. Facts that the files do not state are blank and named; the audit flags benchmarks that were asked
    in two ways.
    """
    from harness.cli.judge_scores import judge_verb

    judge_verb(paths, out, baseline)


@app.command("index")
def index_command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="a folder of results folders")],
) -> None:
    """Write index.html: every study of a folder with its question, its answer and its picture."""
    from harness.report.gallery import write_index

    typer.echo(clean(str(write_index(folder))))


@app.command("card")
def card_command(
    folder: ResultsFolder,
    out: Annotated[Path | None, typer.Option("--out", help="the folder to write to (default: the results)")] = None,
) -> None:
    """Write one page to show: the answer, numbers and front as card.png and card.svg, and in words as card.txt."""
    from harness.report.one_page import write_one_page

    for path in write_one_page(folder, out):
        typer.echo(clean(str(path)))


@app.command("verify")
def verify_command(folder: ResultsFolder) -> None:
    """Check that a results folder is intact.

    It checks files, schemas and digests, and that the rows reproduce the report byte for byte. Each check is a line
    that starts with ok, NOT ok or unchecked (an older folder records less). The exit code is 1 where a check fails.
    Writes nothing. It detects corruption and mistakes, not tampering: digests are not signatures.
    """
    from harness.cli.verbs import verify_verb

    raise typer.Exit(verify_verb(folder))


@app.command("compare")
def compare_command(
    folder: ResultsFolder,
    first: Annotated[str, typer.Argument(metavar="A", help="a method of the folder, or a second results folder")],
    second: Annotated[str | None, typer.Argument(metavar="[B]", help="the method to compare A with")] = None,
) -> None:
    """Compare two methods, or two runs method by method.

    FOLDER A B compares two methods of a results folder, FOLDER FOLDER the methods of two runs. The statistics are
    those of the report: paired over common seeds and items, corrected for all pairs that could have been asked for.
    Differences are the first minus the second. Writes nothing.
    """
    from harness.cli.verbs import compare_verb

    compare_verb(folder, first, second)


@app.command("claims")
def claims_command(
    folder: ResultsFolder,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="a claims file (default: the one of the report)")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PAGE", help="of a folder of studies: also write the table as Markdown"),
    ] = None,
) -> None:
    """Test claims on the rows of a results folder, or of a folder of studies.

    A claim is a contrast of means with an expected value; methods/claims.yaml explains the format and holds the
    claims of the literature that ship with the project. A folder of studies, such as results, holds claims.yaml, which
    names the tests that bear on each claim; their verdicts are computed again from the studies' rows.
    """
    from harness.cli.verbs import claims_verb, field_claims_verb

    if (folder / "matrix.json").is_file() or not (folder / "claims.yaml").is_file():
        claims_verb(folder, file)
    else:
        field_claims_verb(folder, out)


@app.command("export")
def export_command(
    folder: ResultsFolder,
    kind: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="eee, lm-eval, inspect, hf-eval-results, csv, parquet, latex or markdown (default: all four tables)",
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="the folder to write to (default: NAME-tables or NAME-FORMAT here)"),
    ] = None,
    date: Annotated[
        str, typer.Option("--date", metavar="DATE", help="the date that records state (default: the start of 1970)")
    ] = "",
    datasets: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset", metavar="BENCHMARK=OWNER/NAME#TASK", help="a benchmark's data set, for hf-eval-results"
        ),
    ] = None,
) -> None:
    """Write results for other tools: the report's numbers as tables, or every score as a record.

    Without --format: scores and differences as CSV and Parquet, the matrix as LaTeX and Markdown. A value that could
    not be computed is blank, never 0. `eee` (Every Eval Ever), `lm-eval` and `inspect` hold every score, and `bakeoff
    judge` reads them again.
    """
    from harness.cli.exporting import export_verb

    export_verb(folder, out, kind, date, datasets or [])


@app.command("push")
def push_command(
    folder: ResultsFolder,
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="the data set repository of the hub to send it to")],
    artifacts: Annotated[
        list[str] | None,
        typer.Option(
            "--artifact", metavar="METHOD/SEED=OWNER/NAME", help="also send an artifact, with a model card, to a model"
        ),
    ] = None,
    store: StorePlace = DEFAULT_STORE,
    without_texts: Annotated[
        bool, typer.Option("--without-texts", help="leave prompts, answers and references out")
    ] = False,
    public: Annotated[bool, typer.Option("--public", help="make a new repository public (default: private)")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would be sent, and send nothing")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="send without asking")] = False,
) -> None:
    """Put a results folder on the Hugging Face hub, and artifacts with a generated model card if you name them.

    It shows every file that would be sent and asks first. Only a folder that verifies is sent. The token is that of `hf
    auth login` or HF_TOKEN.
    """
    from harness.cli.pushing import push_verb

    push_verb(
        folder, repo, artifacts or [], store, texts=not without_texts, public=public, dry=dry_run, yes=yes
    )  # fmt: skip


@app.command("explain")
def explain_command(
    file: ExperimentFile,
    cell: Annotated[str, typer.Argument(metavar="CELL", help="METHOD, METHOD/BENCHMARK or METHOD/BENCHMARK/SEED")],
    store: StorePlace = DEFAULT_STORE,
    settings: Settings = [],  # noqa: B006
) -> None:
    """Explain why a cell is done, stale, failed or not applicable."""
    from harness.cli.verbs import explain_verb

    explain_verb(file, cell, store, settings)


@microworld.command("build")
def build_command(
    size: Annotated[str, typer.Argument(help="tiny, small, small-seen or large")],
    out: Annotated[Path, typer.Option(help="the folder to write the model to")],
    tokens: Annotated[int | None, typer.Option(help="number of pretraining tokens (default: the recipe's)")] = None,
    seed: Annotated[int, typer.Option(help="random seed of the corpus and the initial weights")] = 0,
) -> None:
    """Pretrain an embedded model from scratch."""
    from harness.microworld.build import build

    folder = build(size, out, tokens=tokens, seed=seed)
    typer.echo(clean(f"The model is in {folder}. Next: name that folder under `bases:` of an experiment."))


def _check_quotes(words: list[str]) -> None:
    """Raise UserError where the shell divided the value of --set at a space inside brackets."""
    for at, word in enumerate(words[1:], start=1):
        if words[at - 1] == "--set" and _is_open(word):
            whole = next(
                (told for end in range(at, len(words)) if not _is_open(told := " ".join(words[at : end + 1]))), ""
            )
            example = f"--set {shlex.quote(whole or 'methods=[base, sft]')}"
            raise UserError(f"--set {word} ends inside brackets", fix=f"A value with spaces needs quotes: {example}")


def _is_open(word: str) -> bool:
    return any(word.count(left) > word.count(right) for left, right in ("[]", "{}"))


def main() -> Any:
    """Run the command line; a user's mistake ends with one message and exit code 2, never a traceback."""
    try:
        _check_quotes(sys.argv)
        return app()
    except UserError as error:
        typer.echo(f"Error: {message(error)}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.errno not in OF_THE_MACHINE or not error.filename:
            raise
        typer.echo(f"Error: {error.filename}: {error.strerror}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
