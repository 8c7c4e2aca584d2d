"""The content of matrix.json, of a run and of scores that others measured: axes, metrics and the states of cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.benchmark import Metric
from harness.engine.results.digests import matrix_digest
from harness.engine.results.schema import SCHEMA_VERSION


def matrix_record(
    text: str,
    *,
    name: str,
    baseline: str | None,
    reference: str | None,
    margin: float,
    bases: Sequence[str],
    seeds: Sequence[int],
    methods: Sequence[Mapping[str, Any]],
    benchmarks: Sequence[Mapping[str, Any]],
    cells: Sequence[Mapping[str, Any]],
    joint: Sequence[Mapping[str, Any]] = (),
    small_base: str | None = None,
    data_qualities: Sequence[str] = (),
    data_sizes: Sequence[int] = (),
    out_of_distribution: Mapping[str, str] | None = None,
    quality_order: Mapping[str, str] | None = None,
    contrasts: Iterable[Sequence[str]] = (),
    question: str = "",
) -> dict[str, Any]:
    """All of it; `text`, what the results are made from, enters the digest.

    methods, benchmarks  as `method_record` and `benchmark_record` make them
    cells, joint         each with its place, key, state and `why`
    """
    return {
        "schema": SCHEMA_VERSION,
        "digest": matrix_digest(text, cells, joint),
        "name": name,
        **({"question": question} if question else {}),
        "baseline": baseline,
        "reference": reference,
        "margin": margin,
        "out_of_distribution": dict(out_of_distribution or {}),
        "bases": [*bases],
        "small_base": small_base,
        "seeds": [*seeds],
        "data_qualities": [*data_qualities],
        "data_sizes": [*data_sizes],
        "quality_order": dict(quality_order or {}),
        "contrasts": [[*pair] for pair in contrasts],
        "methods": [*methods],
        "benchmarks": [*benchmarks],
        "cells": [*cells],
        "joint": [*joint],
    }


def method_record(label: str, summary: str, *, deterministic: bool, seed_group: str, **known: Any) -> dict[str, Any]:
    """A method's entry; `known` is what only a run knows: plugin, on, fields, needs, inputs, badges."""
    blank = {"plugin": "", "on": "base", "fields": {}, "needs": [], "inputs": [], "badges": []}
    told = {"label": label, "summary": summary, "deterministic": deterministic, "seed_group": seed_group}
    return {**blank, **told, **known}


def benchmark_record(
    label: str,
    summary: str,
    version: int | str,
    metrics: Iterable[Metric],
    joint_metrics: Iterable[Metric] = (),
    **known: Any,
) -> dict[str, Any]:
    """A benchmark's entry; `known` is what only a run knows: plugin, fields, stochastic."""
    blank = {"plugin": "", "fields": {}, "stochastic": False}
    told = {"label": label, "summary": summary, "version": version, "metrics": [vars(metric) for metric in metrics]}
    return {**blank, **told, "joint_metrics": [vars(metric) for metric in joint_metrics], **known}
