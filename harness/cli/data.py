"""`bakeoff data VERB`: the options of the verbs on training data; `data_verbs` is loaded when one is called."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.engine.showable import clean

if TYPE_CHECKING:
    from harness.curation.writing.writer import Writer

app = typer.Typer(help="Inspect, clean, mix and generate training data.", no_args_is_help=True)

OnError = Annotated[str, typer.Option("--on-error", help="on a malformed row: stop, or skip it and list it")]
OutFile = Annotated[Path, typer.Option("--out", help="the .jsonl file to write")]
Seed = Annotated[int, typer.Option("--seed", help="random seed of all sampling")]
Files = Annotated[list[str], typer.Argument(metavar="FILE...", help="files, folders or hub ids")]
Licences = Annotated[
    list[str], typer.Option("--licence", metavar="FILE=LICENCE", help="a file's licence, for the data card")
]

OneFile = Annotated[str, typer.Argument(metavar="FILE", help="a file, folder, hub id or microworld/NAME")]
Model = Annotated[
    str, typer.Option("--model", help="the model that generates: a base model, or a model of the endpoint")
]
Endpoint = Annotated[
    str, typer.Option("--endpoint", metavar="URL", help="an OpenAI-compatible server; the URL ends in /v1")
]
KeyVariable = Annotated[
    str, typer.Option("--key-variable", metavar="NAME", help="the environment variable that holds its key")
]
Tokens = Annotated[int, typer.Option("--max-new-tokens", min=1, help="longest generated text in tokens")]
Temperature = Annotated[float, typer.Option("--temperature", min=0, help="sampling temperature; 0 is greedy")]
Device = Annotated[str, typer.Option("--device", help="device of a base model: cpu or cuda")]


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(clean(line))


def _writer(
    model: str, endpoint: str, key_variable: str, device: str, max_new_tokens: int, temperature: float, seed: int
) -> Writer:
    from harness.curation.writing.writer import writer_of

    return writer_of(
        model, endpoint, key_variable, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed, device=device
    )


@app.command("inspect")
def inspect_command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a file, folder or hub id")],
    rows: Annotated[int, typer.Option("--rows", min=0, help="how many rows to show")] = 10,
    model: Annotated[str, typer.Option("--model", help="show rows in this model's chat template")] = "",
    html: Annotated[Path | None, typer.Option("--html", help="also write the rows to this HTML page")] = None,
    split: Annotated[str, typer.Option("--split", help="split of a folder or hub id")] = "train",
    on_error: OnError = "stop",
) -> None:
    """Show a file's format, counts, lengths, duplicates and rows."""
    from harness.cli.data_verbs import inspect_verb

    _print(inspect_verb(file, rows, on_error, split, model, html))


@app.command("curate")
def curate_command(
    files: Files,
    out: OutFile,
    steps: Annotated[
        Path | None, typer.Option("--steps", help="a YAML list of steps (default: the standard ones)")
    ] = None,
    n: Annotated[
        int, typer.Option("--n", min=0, help="keep exactly this many rows, chosen for diversity (0: all)")
    ] = 0,
    seed: Seed = 0,
    on_error: OnError = "stop",
    licences: Licences = [],  # noqa: B006
) -> None:
    """Run a pipeline of curation steps over raw rows.

    Writes the set, the removed rows with reasons, and a data card.
    """
    from harness.cli.data_verbs import curate_verb

    _print(curate_verb(files, out, steps, n, seed, on_error, licences))


@app.command("decontaminate")
def decontaminate_command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="the training rows")],
    against: Annotated[
        list[str], typer.Option("--against", help="a test set, or an experiment for its benchmarks; may be repeated")
    ],
    out: Annotated[Path | None, typer.Option("--out", help="write the clean rows to this .jsonl file")] = None,
    ngram: Annotated[int, typer.Option("--ngram", min=1, help="words per n-gram")] = 8,
    embed: Annotated[str, typer.Option("--embed", help="also compare prompts by this model's embeddings")] = "",
    similar: Annotated[float, typer.Option("--similar", help="cosine similarity above which two prompts match")] = 0.9,
    template: Annotated[list[str], typer.Option("--template", help="a prompt template, such as 'Add {numbers}.'")] = [],  # noqa: B006
    on_error: OnError = "stop",
    strict: Annotated[bool, typer.Option("--strict", help="exit with an error where a test set is flagged")] = False,
) -> None:
    """Find test items in training rows, and remove those rows.

    By default with 8-grams and the rule of Tulu 3.
    """
    from harness.cli.data_verbs import decontaminate_verb

    _print(decontaminate_verb(file, against, out, ngram, template, on_error, strict, embed, similar))


@app.command("mix")
def mix_command(
    sources: Annotated[list[str], typer.Argument(metavar="FILE=WEIGHT...", help="sources with weights (default: 1)")],
    out: OutFile,
    n: Annotated[int, typer.Option("--n", min=1, help="number of rows to draw")],
    seed: Seed = 0,
    on_error: OnError = "stop",
) -> None:
    """Draw exactly n rows from several sources by weight."""
    from harness.cli.data_verbs import mix_verb

    _print(mix_verb(sources, out, n, seed, on_error))


@app.command("pairs")
def pairs_command(
    file: OneFile,
    out: OutFile,
    samples: Annotated[str, typer.Option("--samples", metavar="FILE", help="a model's own completions")] = "",
    per_prompt: Annotated[
        int, typer.Option("--per-prompt", min=0, help="corruptions per call, or pairs per prompt")
    ] = 1,
    kinds: Annotated[list[str], typer.Option("--kind", help="a kind of corruption (default: all)")] = [],  # noqa: B006
    seed: Seed = 0,
    on_error: OnError = "stop",
) -> None:
    """Make preference pairs.

    From function calls and corrupted ones, or from completions that a verifier accepts and rejects.
    """
    from harness.cli.data_verbs import pairs_verb

    _print(pairs_verb(file, out, samples, per_prompt, kinds, seed, on_error))


@app.command("evolve")
def evolve_command(
    file: OneFile,
    out: OutFile,
    model: Model,
    endpoint: Endpoint = "",
    key_variable: KeyVariable = "",
    device: Device = "cpu",
    mode: Annotated[str, typer.Option("--mode", help="evol (rewrite instructions) or self-instruct")] = "evol",
    operators: Annotated[list[str], typer.Option("--operator", help="an operator of evol (default: all)")] = [],  # noqa: B006
    prompts: Annotated[Path | None, typer.Option("--prompts", help="your own operators, as YAML")] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="rounds; each continues from the previous one")] = 4,
    requests: Annotated[int, typer.Option("--requests", min=1, help="requests per round of self-instruct")] = 8,
    judge: Annotated[bool, typer.Option(help="let the model judge whether a rewrite adds anything")] = True,
    max_new_tokens: Tokens = 512,
    temperature: Temperature = 1.0,
    seed: Seed = 0,
    on_error: OnError = "stop",
) -> None:
    """Let a model write and answer new instructions.

    Bad and duplicate ones are dropped.
    """
    from harness.cli.data_verbs import Evolution, evolve_verb

    plan = Evolution(mode, operators, prompts, rounds, requests, judge)
    writer = _writer(model, endpoint, key_variable, device, max_new_tokens, temperature, seed)
    _print(evolve_verb(file, out, writer, plan, seed, on_error))


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
    """Let a model write better versions of demonstrations."""
    from harness.cli.data_verbs import refine_verb

    writer = _writer(model, endpoint, key_variable, device, max_new_tokens, temperature, seed)
    _print(refine_verb(file, out, writer, seed, on_error))
