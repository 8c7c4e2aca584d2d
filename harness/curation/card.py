"""The data card of a set: sources, licences, digest, funnel, style. As JSON and as Markdown, without times."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from harness.curation.pipeline import FunnelLine
from harness.data.examples import Example, ExampleSet, answer_text
from harness.data.load import SHIPPED, SHIPPED_LICENCE
from harness.data.words import words_of
from harness.errors import UserError
from harness.files import read_json, sibling_file, write_text
from harness.records import digest_of

TOGETHER = " + "
RESTRICTED = re.compile(r"\bNC\b|non[- ]?commercial|\bND\b|no[- ]?deriv", re.I)
LISTED = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s", re.M)


def data_card(
    examples: Sequence[Example], funnel: Sequence[FunnelLine], licences: Mapping[str, str], seed: int
) -> dict[str, Any]:
    """The content of the card.

    licences  the licence of each origin as the user states it; a missing one is `not stated`
    """
    origins = Counter(one.origin for one in examples)
    sources = [
        {"origin": name, "rows": rows, "licence": licences.get(name, "not stated")}
        for name, rows in sorted(origins.items())
    ]
    return {
        "rows": len(examples),
        "kind": examples[0].kind,
        "digest": digest_of([one.record for one in examples]),
        "seed": seed,
        "sources": sources,
        "restricted": [one["origin"] for one in sources if is_restricted(str(one["licence"]))],
        "funnel": [
            {"step": f.step, "in": f.rows_in, "out": f.rows_out, "changed": f.changed, "removed": dict(f.removed)}
            for f in funnel
        ],
        "style": style_of(examples),
    }


def style_of(examples: Sequence[Example]) -> dict[str, float]:
    """The form of the answers: words (quartiles), and shares, between 0 and 1, of all answers.

    common_opening is the share of answers that begin with the most frequent two opening words.
    """
    answers = [answer_text(one.record) for one in examples]
    lengths = [len(words_of(answer)) for answer in answers]
    quarters = quantiles(lengths, n=4, method="inclusive") if len(lengths) > 1 else [lengths[0]] * 3
    openings = Counter(tuple(words_of(answer)[:2]) for answer in answers)
    share = {
        "with_list": sum(bool(LISTED.search(answer)) for answer in answers),
        "with_code": sum("```" in answer for answer in answers),
        "common_opening": openings.most_common(1)[0][1],
    }
    return {
        "median_words": float(median(lengths)),
        "first_quartile_words": float(quarters[0]),
        "third_quartile_words": float(quarters[2]),
        **{name: round(count / len(answers), 4) for name, count in share.items()},
    }


def card_markdown(card: Mapping[str, Any], name: str) -> str:
    """The card as Markdown."""
    lines = [f"# {name}", "", f"{card['rows']:,} {card['kind']}, digest `{card['digest']}`, seed {card['seed']}.", ""]
    if "written_by" in card:
        lines += [f"Written by the model {_cell(card['written_by'])}, whose own terms may bear on its use.", ""]
    if card["restricted"]:
        lines += [f"**Restricted licences** (non-commercial or no derivatives): {', '.join(card['restricted'])}.", ""]
    lines += ["| source | rows | licence |", "|---|---:|---|"]
    lines += [f"| {_cell(s['origin'])} | {s['rows']:,} | {_cell(s['licence'])} |" for s in card["sources"]]
    if card["funnel"]:
        lines += ["", "| step | in | out | changed | removed |", "|---|---:|---:|---:|---|"]
        lines += [_funnel_row(line) for line in card["funnel"]]
    lines += ["", "| style of the answers | |", "|---|---:|"]
    lines += [f"| {key.replace('_', ' ')} | {value:g} |" for key, value in card["style"].items()]
    return "\n".join(lines) + "\n"


def _funnel_row(line: Mapping[str, Any]) -> str:
    why = "; ".join(f"{count:,} {reason}" for reason, count in line["removed"].items())
    return f"| {_cell(line['step'])} | {line['in']:,} | {line['out']:,} | {line['changed']:,} | {_cell(why)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def write_card(path: Path, card: Mapping[str, Any]) -> None:
    """Write PATH.card.json and PATH.card.md next to the set."""
    write_text(sibling_file(path, "card.json"), json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    write_text(sibling_file(path, "card.md"), card_markdown(card, path.stem))


def licences_of(given: Sequence[str], sets: Sequence[ExampleSet]) -> dict[str, str]:
    """The licence of each origin: from FILE=LICENCE pairs, or else from the cards next to the sets."""
    cards = [sibling_file(Path(one.name), "card.json") for one in sets if not one.name.startswith(SHIPPED)]
    stated = [source for card in cards if card.is_file() for source in read_json(card)["sources"]]
    found = {str(source["origin"]): str(source["licence"]) for source in stated}
    known = sorted({example.origin for one in sets for example in one.examples})
    found.update({origin: SHIPPED_LICENCE for origin in known if origin.startswith(SHIPPED)})
    for pair in given:
        name, _, licence = pair.partition("=")
        fitting = [origin for origin in known if f"/{Path(name).as_posix()}".endswith(f"/{origin}")]
        fitting = fitting or [origin for origin in known if Path(origin).name == name]
        if len(fitting) != 1 or not licence:
            raise UserError(f"--licence {pair}", fix=f"Write FILE=LICENCE with one of {', '.join(known)}.")
        found[fitting[0]] = licence
    return found


def joint_origin(origins: Sequence[str]) -> str:
    """The origin of a row that was derived from rows of several sets."""
    return TOGETHER.join(sorted({part for one in origins for part in one.split(TOGETHER)}))


def with_joint(licences: dict[str, str], examples: Sequence[Example]) -> dict[str, str]:
    """The licences, also of rows derived from several sets: every one of those sets' licences applies to them."""
    joint = {one.origin for one in examples if TOGETHER in one.origin}
    parts = {origin: [licences.get(part, "not stated") for part in origin.split(TOGETHER)] for origin in joint}
    return {**licences, **{origin: "; ".join(dict.fromkeys(stated)) for origin, stated in parts.items()}}


def is_restricted(licence: str) -> bool:
    """Whether the text names a non-commercial or no-derivatives licence, such as CC-BY-NC-4.0."""
    return bool(RESTRICTED.search(licence))
