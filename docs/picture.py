"""The picture of the README, from the committed rows of results/methods.

    .venv/bin/python docs/picture.py         writes docs/quality_and_knowledge.svg

Every number is the report's own: `harness.report.collect` computes it from rows.parquet. The method on the small
base is left out, because its knowledge is that of another base model. Needs matplotlib, which `make` installs.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib import pyplot

from harness.report.collect import collect

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docs" / "quality_and_knowledge.svg"
PANELS = {"instruction_following": "instructions followed (%)", "stories": "stories solved (%)"}
KINDS = {
    "nothing is trained in the large model": ("#6b6b6b", -11.6, ("base", "prompting", "proxy")),
    "all weights": ("#b3541e", -9.5, ("sft", "sft_longer", "chosen_only", "dpo", "rft", "grpo")),
    "adapters and edits of hidden states": ("#1f6f8b", 2.5, ("lora", "lora_thin", "ia3", "loreft", "pyreft")),
}


GAP = 5.5  # per cent between two labels


def main() -> None:
    """Draw both panels and write the file; equal rows give equal bytes."""
    block = collect(ROOT / "results" / "methods").blocks[0]
    matplotlib.rcParams.update({"svg.hashsalt": "bakeoff", "svg.fonttype": "none", "font.size": 9})
    figure, panels = pyplot.subplots(1, 2, figsize=(9.4, 4.4), sharex=True, sharey=True)
    for panel, (benchmark, title) in zip(panels, PANELS.items(), strict=True):
        result = next(r for r in block.of_role("quality") if r.metric.benchmark == benchmark)
        for kind, (colour, side, labels) in KINDS.items():
            found = [(label, result.scores[label].estimate, block.kept[label].difference) for label in labels]
            places = sorted((point(panel, colour, *estimates), label) for label, *estimates in found)
            name(panel, places, colour, side)
            panel.plot([], [], "o", color=colour, label=kind, markersize=5)
        panel.axvline(-2, color="#999999", linestyle="--", linewidth=0.8)
        panel.set(xlabel="knowledge, change against the base (points)", ylabel=title, xlim=(-14.5, 6), ylim=(-5, 112))
        panel.set_xticks(range(-14, 5, 2))
        panel.grid(color="#e6e6e6", linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    panels[1].yaxis.set_tick_params(labelleft=True)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="lower center", ncol=3, frameon=False)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    figure.savefig(FILE, metadata={"Date": None})


def point(panel, colour, quality, knowledge):  # type: ignore[no-untyped-def]
    """Draw a method with its intervals and return (y, x); the base has no difference to itself."""
    x, low, high = (knowledge.value, knowledge.low, knowledge.high) if knowledge else (0.0, 0.0, 0.0)
    x, low, high, y, down, up = (100 * value for value in (x, low, high, quality.value, quality.low, quality.high))
    panel.errorbar(x, y, [[y - down], [up - y]], [[x - low], [high - x]], "o", color=colour, elinewidth=0.7, alpha=0.6)
    return y, x


def name(panel, places, colour, side):  # type: ignore[no-untyped-def]
    """Labels in columns left (at x = `side`) and right of the points, pushed apart, each with a line to its point."""
    for left in (True, False):
        column = [(y, x, label) for (y, x), label in places if (x < -3) == left]
        top = 109.0
        # from the top down: no label above its point's height, unless the one above pushes it
        for y, x, label in reversed(column):
            top = min(top - GAP, y + GAP * (len(column) - 1) / 2)
            panel.annotate(
                label, (x, y), xytext=(side if left else 2.6, top), fontsize=7.5, color=colour, va="center",
                ha="right" if left else "left", arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.4},
            )  # fmt: skip


if __name__ == "__main__":
    main()
