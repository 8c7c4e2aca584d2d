"""`bakeoff data VERB`: raw rows to a shared, documented training set. Loads what it needs when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Look at, curate, decontaminate, mix, pair and write training data.", no_args_is_help=True)

OnError = Annotated[str, typer.Option("--on-error", help="a bad row: stop, or skip and list it")]
OutFile = Annotated[Path, typer.Option("--out", help="the .jsonl file to write")]
Seed = Annotated[int, typer.Option("--seed", help="of every draw")]
Files = Annotated[list[str], typer.Argument(metavar="FILE...", help="files, folders or hub ids")]
Licences = Annotated[list[str], typer.Option("--licence", metavar="FILE=LICENCE", help="for the data card")]

OneFile = Annotated[str, typer.Argument(metavar="FILE", help="a file, folder, hub id or microworld/NAME")]
Model = Annotated[str, typer.Option("--model", help="the model that writes: a base model, or one of the endpoint's")]
Endpoint = Annotated[str, typer.Option("--endpoint", metavar="URL", help="an OpenAI-compatible server, up to /v1")]
KeyVariable = Annotated[str, typer.Option("--key-variable", metavar="NAME", help="the variable with its key")]
Tokens = Annotated[int, typer.Option("--max-new-tokens", min=1, help="of each thing that is written")]
Temperature = Annotated[float, typer.Option("--temperature", min=0, help="0 writes what is likeliest")]
Device = Annotated[str, typer.Option("--device", help="where a base model runs: cpu or cuda")]


@app.command("inspect")
def inspect_command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a file, folder or hub id")],
    rows: Annotated[int, typer.Option("--rows", min=0, help="how many rows to show")] = 10,
    model: Annotated[str, typer.Option("--model", help="show rows in this model's chat template")] = "",
    html: Annotated[Path | None, typer.Option("--html", help="write the rows to this page as well")] = None,
    split: Annotated[str, typer.Option("--split", help="of a folder or hub id")] = "train",
    on_error: OnError = "stop",
) -> None:
    """Show what a file holds: its format and why, counts, lengths, repeats, some rows."""
    from harness.cli.data_verbs import inspect_verb

    for line in inspect_verb(file, rows, on_error, split, model, html):
        typer.echo(line)


@app.command("curate")
def curate_command(
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
    from harness.cli.data_verbs import curate_verb

    for line in curate_verb(files, out, steps, n, seed, on_error, licences):
        typer.echo(line)


@app.command("decontaminate")
def decontaminate_command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="the training rows")],
    against: Annotated[
        list[str], typer.Option("--against", help="a test set, or an experiment for its benchmarks; again for each")
    ],
    out: Annotated[Path | None, typer.Option("--out", help="write the clean rows to this .jsonl file")] = None,
    ngram: Annotated[int, typer.Option("--ngram", min=1, help="words of an n-gram")] = 8,
    embed: Annotated[str, typer.Option("--embed", help="also compare what is asked by this model's embeddings")] = "",
    similar: Annotated[float, typer.Option("--similar", help="the cosine above which they are the same")] = 0.9,
    template: Annotated[list[str], typer.Option("--template", help="a templated prompt: Add {numbers}.")] = [],  # noqa: B006
    on_error: OnError = "stop",
    strict: Annotated[bool, typer.Option("--strict", help="fail where a test set is flagged")] = False,
) -> None:
    """Find test items in training rows (8-grams, Tulu 3's rule), and remove those rows."""
    from harness.cli.data_verbs import decontaminate_verb

    for line in decontaminate_verb(file, against, out, ngram, template, on_error, strict, embed, similar):
        typer.echo(line)


@app.command("mix")
def mix_command(
    sources: Annotated[list[str], typer.Argument(metavar="FILE=WEIGHT...", help="sources; a weight is 1 by default")],
    out: OutFile,
    n: Annotated[int, typer.Option("--n", min=1, help="rows of the mix")],
    seed: Seed = 0,
    on_error: OnError = "stop",
) -> None:
    """Draw exactly n rows from several sources by weight."""
    from harness.cli.data_verbs import mix_verb

    for line in mix_verb(sources, out, n, seed, on_error):
        typer.echo(line)


@app.command("pairs")
def pairs_command(
    file: OneFile,
    out: OutFile,
    samples: Annotated[str, typer.Option("--samples", metavar="FILE", help="a model's own completions")] = "",
    per_prompt: Annotated[int, typer.Option("--per-prompt", min=0, help="corruptions of a call, or pairs")] = 1,
    kinds: Annotated[list[str], typer.Option("--kind", help="a kind of corruption; all by default")] = [],  # noqa: B006
    seed: Seed = 0,
    on_error: OnError = "stop",
) -> None:
    """Put right answers beside wrong ones: function calls and their failures, or what a verifier tells apart."""
    from harness.cli.data_verbs import pairs_verb

    for line in pairs_verb(file, out, samples, per_prompt, kinds, seed, on_error):
        typer.echo(line)


@app.command("evolve")
def evolve_command(
    file: OneFile,
    out: OutFile,
    model: Model,
    endpoint: Endpoint = "",
    key_variable: KeyVariable = "",
    device: Device = "cpu",
    mode: Annotated[str, typer.Option("--mode", help="evol (rewrite instructions) or self-instruct")] = "evol",
    operators: Annotated[list[str], typer.Option("--operator", help="an operator of evol; all by default")] = [],  # noqa: B006
    prompts: Annotated[Path | None, typer.Option("--prompts", help="your own operators, as YAML")] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="each goes on from the one before")] = 4,
    requests: Annotated[int, typer.Option("--requests", min=1, help="of a round of self-instruct")] = 8,
    judge: Annotated[bool, typer.Option(help="let the model judge what a rewriting adds")] = True,
    max_new_tokens: Tokens = 512,
    temperature: Temperature = 1.0,
    seed: Seed = 0,
    on_error: OnError = "stop",
) -> None:
    """Let a model write new instructions from old ones, and answer them; drops what is bad or not new."""
    from harness.cli.data_verbs import Evolution, evolve_verb
    from harness.curation.writing.writer import writer_of

    plan = Evolution(mode, operators, prompts, rounds, requests, judge)
    writer = writer_of(
        model,
        endpoint,
        key_variable,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        device=device,
    )
    for line in evolve_verb(file, out, writer, plan, seed, on_error):
        typer.echo(line)


@app.command("refine")
def refine_command(
    file: OneFile,
    out: OutFile,
    model: Model,
    endpoint: Endpoint = "",
    key_variable: KeyVariable = "",
    device: Device = "cpu",
    max_new_tokens: Tokens = 1024,
    temperature: Temperature = 1.0,
    seed: Seed = 0,
    on_error: OnError = "stop",
) -> None:
    """Let a model reflect on demonstrations and write better versions beside them."""
    from harness.cli.data_verbs import refine_verb
    from harness.curation.writing.writer import writer_of

    writer = writer_of(
        model,
        endpoint,
        key_variable,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        device=device,
    )
    for line in refine_verb(file, out, writer, seed, on_error):
        typer.echo(line)
