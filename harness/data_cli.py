"""`bakeoff data VERB`: raw rows to a shared, documented training set. Loads what it needs when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Look at, curate, decontaminate and mix training data.", no_args_is_help=True)

OnError = Annotated[str, typer.Option("--on-error", help="a bad row: stop, or skip and list it")]
OutFile = Annotated[Path, typer.Option("--out", help="the .jsonl file to write")]
Seed = Annotated[int, typer.Option("--seed", help="of every draw")]
Files = Annotated[list[str], typer.Argument(metavar="FILE...", help="files, folders or hub ids")]
Licences = Annotated[list[str], typer.Option("--licence", metavar="FILE=LICENCE", help="for the data card")]


@app.command()
def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a file, folder or hub id")],
    rows: Annotated[int, typer.Option("--rows", min=0, help="how many rows to show")] = 10,
    model: Annotated[str, typer.Option("--model", help="show rows in this model's chat template")] = "",
    html: Annotated[Path | None, typer.Option("--html", help="write the rows to this page as well")] = None,
    split: Annotated[str, typer.Option("--split", help="of a folder or hub id")] = "train",
    on_error: OnError = "stop",
) -> None:
    """Show what a file holds: its format and why, counts, lengths, repeats, some rows."""
    from harness.data.verbs import inspect_verb

    for line in inspect_verb(file, rows, on_error, split, model, html):
        typer.echo(line)


@app.command()
def curate(
    files: Files,
    out: OutFile,
    steps: Annotated[
        Path | None, typer.Option("--steps", help="a YAML list of steps (default: the usual ones)")
    ] = None,
    n: Annotated[int, typer.Option("--n", min=0, help="exactly this many rows, as diverse as can be (0: all)")] = 0,
    seed: Seed = 0,
    on_error: OnError = "stop",
    licences: Licences = [],  # noqa: B006
) -> None:
    """Run a pipeline over raw rows; writes the set, the removed rows with reasons, and a data card."""
    from harness.data.verbs import curate_verb

    for line in curate_verb(files, out, steps, n, seed, on_error, licences):
        typer.echo(line)


@app.command()
def decontaminate(
    file: Annotated[str, typer.Argument(metavar="FILE", help="the training rows")],
    against: Annotated[list[str], typer.Option("--against", help="a test set; again for each")],
    out: Annotated[Path | None, typer.Option("--out", help="write the clean rows to this .jsonl file")] = None,
    ngram: Annotated[int, typer.Option("--ngram", min=1, help="words of an n-gram")] = 8,
    template: Annotated[list[str], typer.Option("--template", help="a templated prompt: Add {numbers}.")] = [],  # noqa: B006
    on_error: OnError = "stop",
    strict: Annotated[bool, typer.Option("--strict", help="fail where a test set is flagged")] = False,
) -> None:
    """Find test items in training rows (8-grams, Tulu 3's rule), and remove those rows."""
    from harness.data.verbs import decontaminate_verb

    for line in decontaminate_verb(file, against, out, ngram, template, on_error, strict):
        typer.echo(line)


@app.command()
def mix(
    sources: Annotated[list[str], typer.Argument(metavar="FILE=WEIGHT...", help="sources; a weight is 1 by default")],
    out: OutFile,
    n: Annotated[int, typer.Option("--n", min=1, help="rows of the mix")],
    seed: Seed = 0,
    on_error: OnError = "stop",
) -> None:
    """Draw exactly n rows from several sources by weight."""
    from harness.data.verbs import mix_verb

    for line in mix_verb(sources, out, n, seed, on_error):
        typer.echo(line)
