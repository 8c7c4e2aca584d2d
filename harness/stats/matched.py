"""Knowledge at equal quality: two sweeps of a setting, each read off between its neighbouring settings.

A sweep is one method at several values of a setting, such as the learning rate; setting i has the mean quality Q_i and
the mean knowledge K_i. Where the qualities of the neighbours i and i + 1 enclose a level q (or of the nearest settings
whose qualities are clearly apart),

    t = (q - Q_i) / (Q_{i+1} - Q_i)            K(q) = (1 - t) K_i + t K_{i+1}

and two sweeps differ by theta = K_A(q) - K_B(q). Both the Q and the K are estimates. To the first order K(q) moves as

    (1 - t) (K_i - b Q_i) + t (K_{i+1} - b Q_{i+1}),     b = (K_{i+1} - K_i) / (Q_{i+1} - Q_i)

so theta has the variance of one contrast on the items of knowledge and one on those of quality, whose items are
independent and whose seeds are the same. With the parts p = knowledge, quality (each as in `harness.stats.contrasts`)

    V = sum_p MS_I,p / (C_p S) + max(sum_g M_g - sum_p E_p / (C_p S), 0)
    M_g = variance over seeds of the seed group's part of theta, knowledge and quality together, over S

and the degrees of freedom of Satterthwaite. In the second, pooled half M is E times the mean ratio of M to E over all
settings of both sweeps; the wider interval is reported, as everywhere. Near a corner of a sweep b is the steeper one of
the two segments. Specification, simulations and limits: docs/statistics.md, section 21.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from harness.stats.cluster_totals import Array, Scores
from harness.stats.contrasts import BINARY, Scale, SeedPool, contrast, difference, mean
from harness.stats.families import independent_sum
from harness.stats.intervals import Estimate, Spread, with_interval

FEWEST_SEEDS = 3
CLEAR = 3.0  # standard errors between the qualities of two settings: below it their slope is mostly chance
NEAR = 2.0  # standard errors within which another setting may reach the level, too


@dataclass(frozen=True)
class Setting:
    """One setting of a sweep; all settings that are matched share seeds, and the items of each of the two metrics."""

    quality: Scores
    knowledge: Scores


@dataclass(frozen=True)
class Metrics:
    """The two metrics of a matched comparison.

    same_items  they are scored on the same items with the same weights, so that their totals are paired
    """

    quality_scale: Scale = BINARY
    knowledge_scale: Scale = BINARY
    quality_pool: SeedPool | None = None
    knowledge_pool: SeedPool | None = None
    same_items: bool = False


@dataclass(frozen=True)
class Matched:
    """The knowledge of two sweeps at one level of quality, and their difference, first - second."""

    level: float
    first: float | None
    second: float | None
    estimate: Estimate


def round_levels(low: float, high: float, fewest: int = 3) -> list[float]:
    """Round numbers strictly between low and high: the coarsest step of 1, 2 or 5 that gives at least `fewest`."""
    if not high > low:
        return []
    for power in range(math.floor(math.log10(high - low)) + 1, math.floor(math.log10(high - low)) - 3, -1):
        for step in (5 * 10.0**power, 2 * 10.0**power, 10.0**power):
            first, last = math.floor(low / step) + 1, math.ceil(high / step) - 1
            if last - first + 1 >= fewest:
                return [round(at * step, 12) for at in range(first, last + 1)]
    return []


def matched_difference(
    first: Sequence[Setting], second: Sequence[Setting], level: float, metrics: Metrics | None = None
) -> Matched:
    """The difference in knowledge of two sweeps, each in the order of its setting, where their quality is `level`.

    Blank with its reason where a sweep does not reach the level between two neighbouring settings or reaches it more
    than once, and where those neighbours differ too little in quality; the interval is blank with too few seeds.
    """
    metrics = metrics or Metrics()
    places, why = [], []
    for sweep in (first, second):
        place, reason = _place(sweep, level, metrics)
        places.append(place)
        why.append(reason)
    known = [None if at is None else _knowledge(at) for at in places]
    if places[0] is None or places[1] is None:
        reason = "; ".join(f"{name}: {said}" for name, said in zip(("first", "second"), why, strict=True) if said)
        return Matched(level, known[0], known[1], Estimate(None, reason=reason))
    estimate = _difference(places[0], places[1], [*first, *second], metrics)
    return Matched(level, known[0], known[1], estimate)


@dataclass(frozen=True)
class _Place:
    """A level between two settings: the share of the way to the upper one, and the slope of knowledge over quality.

    slope  the steepest one where the level is near a corner of the sweep: only the variance depends on it
    """

    lower: Setting
    upper: Setting
    share: float
    slope: float


@dataclass(frozen=True)
class _Term:
    """A setting with its coefficients in the linear form of the difference, and the slope of its segment."""

    setting: Setting
    knowledge: float
    quality: float
    slope: float


def _knowledge(at: _Place) -> float:
    return (1 - at.share) * at.lower.knowledge.mean + at.share * at.upper.knowledge.mean


def _place(sweep: Sequence[Setting], level: float, metrics: Metrics) -> tuple[_Place | None, str]:
    """The only place where the sweep reaches `level`, or the reason why there is none."""
    reached = [setting.quality.mean >= level for setting in sweep]
    crossed = [at for at in range(len(sweep) - 1) if reached[at] != reached[at + 1]]
    if not crossed:
        return None, "does not reach it"
    if len(crossed) > 1:
        return None, "reaches it at more than one place"
    ends = _clear_ends(sweep, crossed[0], metrics)
    if ends is None:
        return None, "the settings around it differ too little in quality"
    lower, upper = sweep[ends[0]], sweep[ends[1]]
    if _reached_elsewhere(sweep, ends, level, metrics):
        return None, "may reach it at more than one place"
    share = (level - lower.quality.mean) / (upper.quality.mean - lower.quality.mean)
    slopes = [_slope(lower, upper), *_slopes_at_corners(sweep, ends, level, metrics)]
    return _Place(lower, upper, share, max(slopes, key=abs)), ""


def _slope(lower: Setting, upper: Setting) -> float:
    return (upper.knowledge.mean - lower.knowledge.mean) / (upper.quality.mean - lower.quality.mean)


def _slopes_at_corners(
    sweep: Sequence[Setting], ends: tuple[int, int], level: float, metrics: Metrics
) -> Iterator[float]:
    """The slopes of the segments before and after, where the corner to them may be on the level's other side."""
    for corner, beyond in ((ends[0], ends[0] - 1), (ends[1], ends[1] + 1)):
        near = 0 <= beyond < len(sweep) and _is_near(sweep[corner], level, metrics)
        if near and _is_clear(sweep[corner], sweep[beyond], metrics):
            yield _slope(sweep[corner], sweep[beyond])


def _is_near(setting: Setting, level: float, metrics: Metrics) -> bool:
    alone = mean(setting.quality, metrics.quality_pool, metrics.quality_scale)
    return bool(alone.spreads) and abs(setting.quality.mean - level) < NEAR * alone.widest.error


def _clear_ends(sweep: Sequence[Setting], at: int, metrics: Metrics) -> tuple[int, int] | None:
    """The nearest settings on both sides of the step from `at` to the next whose qualities are clearly apart."""
    for span in range(1, len(sweep)):
        starts = range(max(0, at + 1 - span), min(at, len(sweep) - 1 - span) + 1)
        clear = [(low, low + span) for low in starts if _is_clear(sweep[low], sweep[low + span], metrics)]
        if clear:
            return min(clear, key=lambda ends: abs(sweep[ends[1]].quality.mean - sweep[ends[0]].quality.mean))
    return None


def _is_clear(lower: Setting, upper: Setting, metrics: Metrics) -> bool:
    gap = difference(upper.quality, lower.quality, metrics.quality_pool, metrics.quality_scale)
    return bool(gap.spreads) and abs(float(gap.value or 0.0)) >= CLEAR * gap.widest.error


def _reached_elsewhere(sweep: Sequence[Setting], ends: tuple[int, int], level: float, metrics: Metrics) -> bool:
    """Whether a setting outside of the segment turns back towards the level, and is too near to it."""
    outside = [(own, sweep[ends[0]]) for own in sweep[: ends[0]]]
    outside += [(own, sweep[ends[1]]) for own in sweep[ends[1] + 1 :]]
    for own, end in outside:
        turns_back = abs(own.quality.mean - level) < abs(end.quality.mean - level)
        if turns_back and _is_near(own, level, metrics):
            return True
    return False


def _difference(first: _Place, second: _Place, settings: Sequence[Setting], metrics: Metrics) -> Estimate:
    terms = [
        _Term(setting, sign * share, -sign * share * at.slope, at.slope)
        for sign, at in ((1.0, first), (-1.0, second))
        for setting, share in ((at.lower, 1 - at.share), (at.upper, at.share))
    ]
    found = _paired(terms, metrics) if metrics.same_items else _added(terms, settings, metrics)
    value = sum(term.knowledge * term.setting.knowledge.mean for term in terms)
    found = replace(found, value=value, limits=_limits(metrics.knowledge_scale), discordant=None)
    if found.spreads and found.seeds < FEWEST_SEEDS:
        seeds = "one seed" if found.seeds == 1 else f"{found.seeds} seeds"
        reason = f"{seeds}: an interval takes {FEWEST_SEEDS} or more"
        return Estimate(value, clusters=found.clusters, seeds=found.seeds, effective=found.effective, reason=reason)
    return with_interval(found)


def _limits(scale: Scale) -> tuple[float, float] | None:
    if scale.bounds is None:
        return None
    reach = scale.bounds[1] - scale.bounds[0]
    return -reach, reach


def _scaled(scale: Scale, coefficients: Sequence[float]) -> Scale:
    """The floor of the items' variance grows with the coefficients."""
    return Scale(scale.binary, scale.unit * max(abs(k) for k in coefficients))


def _paired(terms: Sequence[_Term], metrics: Metrics) -> Estimate:
    """Both metrics on the same items: one contrast of their weighted totals."""
    parts = [
        replace(
            t.setting.knowledge,
            totals=t.knowledge * t.setting.knowledge.totals + t.quality * t.setting.quality.totals,
            collapse=t.setting.knowledge.collapse or t.setting.quality.collapse,
        )
        for t in terms
    ]
    return contrast(parts, [1.0] * len(parts), None, _scaled(metrics.knowledge_scale, [t.knowledge for t in terms]))


def _added(terms: Sequence[_Term], settings: Sequence[Setting], metrics: Metrics) -> Estimate:
    """Metrics on different items at the same seeds. settings: those of both sweeps, for the pooled half."""
    of_knowledge, of_quality = [t.knowledge for t in terms], [t.quality for t in terms]
    scale = _scaled(metrics.knowledge_scale, of_knowledge)
    parts = [contrast([t.setting.knowledge for t in terms], of_knowledge, None, scale)]
    if any(of_quality):  # otherwise knowledge does not change along the segments
        scale = _scaled(metrics.quality_scale, of_quality)
        parts.append(contrast([t.setting.quality for t in terms], of_quality, None, scale))
    found = independent_sum([(1.0, part) for part in parts])
    if not found.spreads or found.seeds == 1:
        return found
    halves = [_own_seed_parts(terms), *_pooled_seed_parts(terms, settings)]
    return replace(found, spreads=tuple(_half(parts, found.seeds, half) for half in halves))


def _half(parts: Sequence[Estimate], seeds: int, seed_parts: Sequence[tuple[float, float]]) -> Spread:
    """V and its degrees of freedom. seed_parts: variances of the mean over seeds, with their degrees of freedom."""
    items = [one.spreads[0].items / (one.clusters * seeds) for one in parts]
    both = [one.spreads[0].interaction / (one.clusters * seeds) for one in parts]
    between, interaction = sum(part for part, _ in seed_parts), sum(both)
    variance = sum(items) + max(between - interaction, 0.0)
    uncertainty = sum(v**2 / (one.effective - 1) for v, one in zip(items, parts, strict=True))
    if between > interaction * (1 + 1e-9):
        uncertainty += sum(part**2 / degrees for part, degrees in seed_parts)
        uncertainty += sum(v**2 / ((one.effective - 1) * (seeds - 1)) for v, one in zip(both, parts, strict=True))
    return Spread(math.sqrt(variance), max(variance**2 / uncertainty, 1.0), sum(items), between, interaction)


def _own_seed_parts(terms: Sequence[_Term]) -> list[tuple[float, float]]:
    """The variance over seeds of each seed group's part of the difference, divided by their number."""
    groups: dict[str, Array] = {}
    for at, term in enumerate(terms):
        name = term.setting.knowledge.kin or f"\0{at}"
        moved = term.knowledge * term.setting.knowledge.seed_means + term.quality * term.setting.quality.seed_means
        groups[name] = groups.get(name, 0.0) + moved
    return [(_variance(moved), moved.size - 1.0) for moved in groups.values()]


def _pooled_seed_parts(terms: Sequence[_Term], settings: Sequence[Setting]) -> Iterator[list[tuple[float, float]]]:
    """The same with the ratio M / E of all settings in the place of each one's own; nothing without two of them.

    M and E of a setting are those of K - b Q with the slope b of the segment. Settings that share an artifact at each
    seed keep their own variance.
    """
    alone = [term for term in terms if not term.setting.knowledge.kin]
    kin = [term for term in terms if term.setting.knowledge.kin]
    pooled, degrees = 0.0, 0.0
    for slope in dict.fromkeys(term.slope for term in alone):
        known = [(m, e, setting) for setting in settings for m, e in (_seed_squares(setting, slope),) if e > 0]
        if len(known) < 2:
            return
        ratio = sum(m / e for m, e, _ in known) / len(known)
        degrees = float(sum(setting.knowledge.seeds - 1 for *_, setting in known))
        pooled += sum(t.knowledge**2 * ratio * _seed_squares(t.setting, slope)[1] for t in alone if t.slope == slope)
    yield [*([(pooled, degrees)] if alone else []), *_own_seed_parts(kin)]


def _seed_squares(setting: Setting, slope: float) -> tuple[float, float]:
    """(M, E) of K - slope Q of one setting: between seeds, and what items contribute to that by chance."""
    seeds = setting.knowledge.seeds
    own = setting.knowledge.seed_mean_squares[1] / setting.knowledge.clusters
    rest = own + slope**2 * setting.quality.seed_mean_squares[1] / setting.quality.clusters
    return _variance(setting.knowledge.seed_means - slope * setting.quality.seed_means), rest / seeds


def _variance(moved: Array) -> float:
    return float(moved.var(ddof=1)) / moved.size
