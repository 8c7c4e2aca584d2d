"""A claims file: hypotheses as contrasts of means, read and checked; every mistake is reported with its line.

The report tests the claims on the rows of an experiment (harness/report/findings/claims.py). What each key means is
written at the top of methods/claims.yaml, the file that ships with the project.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MinLen

from harness.engine.plugin_fields import field_types, typed
from harness.engine.registry import plugin_folder
from harness.engine.yaml_lines import Located, parse_yaml, read_small_text, short
from harness.errors import UserError

SHIPPED_CLAIMS = plugin_folder("methods") / "claims.yaml"

Name = Annotated[str, MinLen(1)]
Names = Annotated[tuple[Name, ...], MinLen(1)]
Size = Literal["largest", "next", "smallest"] | Annotated[int, Ge(1)]
Bound = Annotated[float, Ge(-(10**9))] | Literal["margin", "-margin"]


@dataclass(frozen=True)
class MetricChoice:
    """The metrics that a claim is about: every primary one of a role, or some by name; `plugin` are benchmarks."""

    role: Literal["quality", "knowledge", "other"] | None = None
    metric: Names = ()
    plugin: Names = ()
    group: str = ""


@dataclass(frozen=True)
class TermChoice:
    """weight * mean of the method that it chooses, at one choice of data and one base model.

    method  a plugin, or baseline, reference, tuned; label: a method of the experiment by its label instead
    having  recorded fields that the method must have (`with` in the file)
    size    of the training data; quality: first, second, better, worse, or a name; model: larger, smaller, or a base
    slope   `size` or a recorded field: the slope of the mean over the axis's logarithm, per doubling
    part    a recorded field that holds a method, such as expert: that method, in place of the one named
    """

    weight: float = 1.0
    method: Name | None = None
    label: Name | None = None
    having: Mapping[str, Any] = field(default_factory=dict)
    size: Size | None = None
    quality: Name | None = None
    model: Name | None = None
    group: str = ""
    slope: Name | None = None
    part: Name | None = None
    where: MetricChoice | None = None


@dataclass(frozen=True)
class Requirement:
    """The conditions under which an experiment can test a claim.

    parameters, at_most   the share of the second plugin's trained parameters that the first may train
    competence, at_least  methods that must score this much more than random answers on the claim's metrics
    """

    parameters: Names = ()
    at_most: Annotated[float, Gt(0)] = 1.0
    competence: tuple[TermChoice, ...] = ()
    at_least: Annotated[float, Ge(0), Le(1)] = 0.05


@dataclass(frozen=True)
class Claim:
    """A claim: the contrast of `terms` on the metrics of `where`, and on which side of a bound it should be.

    contradiction  in words: what would count as a contradiction
    family         claims of one name share their error rate; "": those without a name do
    """

    name: Name
    source: Name
    statement: Name
    terms: tuple[TermChoice, ...]
    expects: tuple[str, float | str]
    where: MetricChoice | None = None
    requires: Requirement | None = None
    contradiction: str = ""
    family: str = ""

    @property
    def about_models(self) -> bool:
        """Whether it compares base models, and so is tested once and not on each of them."""
        return any(term.model for term in self.terms)


@dataclass(frozen=True)
class ClaimsFile:
    """The claims of a file, its text, and the plugins that `tuned` names, in order of preference."""

    file: Path
    text: str
    tuned: tuple[str, ...]
    claims: tuple[Claim, ...]


def read_claims(file: Path) -> ClaimsFile:
    """Read and check a claims file. Raises UserError at the line of the first mistake."""
    try:
        there = file.is_file()
    except OSError:
        there = False
    if not there:
        raise UserError(
            "no such claims file", where=str(file), fix="Give the path of a YAML file with `claims: [...]`."
        )
    return _claims_of(file, read_small_text(file))


@lru_cache(maxsize=4)
def _claims_of(file: Path, text: str) -> ClaimsFile:
    """Reading takes most of a second, and a report and its check both need it."""
    root = parse_yaml(text, file)
    fix = "Example: claims: [{name: ..., source: ..., statement: ..., terms: [...], expects: {above: 0}}]"
    if (
        not isinstance(root.value, Mapping)
        or not isinstance(root.value.get("claims"), list)
        or not root.value["claims"]
    ):
        raise root.error("a claims file is a mapping with a list `claims`", "claims", fix=fix)
    root.check_keys(("tuned", "claims"))
    tuned = typed(Names, root["tuned"]) if "tuned" in root.value else ()
    claims = tuple(_claim(item) for _, item in root["claims"].parts())
    seen: set[str] = set()
    for at, claim in enumerate(claims):
        if claim.name in seen:
            raise root.error(f"two claims are called {claim.name!r}", "claims", at, fix="Give one another name.")
        seen.add(claim.name)
    return ClaimsFile(file, text, tuned, claims)


def _claim(given: Located) -> Claim:
    claim: Claim = built(Claim, given, "a claim", {
        "terms": _terms, "expects": _expected, "where": _where, "requires": _requirement,
    })  # fmt: skip
    for at, term in enumerate(claim.terms):
        if claim.where is None and term.where is None:
            fix = "Example: where: {role: quality} in the claim, or in each of its terms"
            raise given.error("neither the claim nor this term says on which metric", "terms", at, fix=fix)
    own = [term.where is not None for term in claim.terms]
    if claim.where is not None and any(own) and not all(own):
        fix = "Give `where` once in the claim, or in every term."
        raise given.error("some terms have a `where` of their own and others take the claim's", "terms", fix=fix)
    return claim


def _terms(given: Located) -> tuple[TermChoice, ...]:
    if not isinstance(given.value, list) or not given.value:
        fix = "Example: terms: [{weight: 1, method: dpo}, {weight: -1, method: sft}]"
        raise given.error(f"`terms` must be a list of terms, got {short(given.value)}", fix=fix)
    return tuple(_term(item) for _, item in given.parts())


def _term(given: Located) -> TermChoice:
    term: TermChoice = built(TermChoice, given, "a term", {"where": _where, "with": _having}, {"with": "having"})
    example = "Example: {weight: 1, method: lora, with: {rank: 64}}"
    if (term.method is None) == (term.label is None):
        raise given.error("a term names either a `method` (a plugin) or the `label` of one", fix=example)
    if term.weight == 0:
        raise given.error("the weight is 0, so the term says nothing", "weight", fix=example)
    if term.slope is not None and (term.label is not None or (term.slope == "size" and term.size is not None)):
        what = "a slope runs over several methods or sizes, and the term names a single one"
        raise given.error(what, "slope", fix="Example: {weight: 1, method: lora, slope: rank}")
    if term.group and term.where is not None and term.where.group:
        raise given.error("the term names a group twice", "group", fix="Leave one of them out.")
    return term


def _having(given: Located) -> Mapping[str, Any]:
    if not isinstance(given.value, Mapping) or not given.value:
        raise given.error(f"`with` must be a mapping, got {short(given.value)}", fix="Example: with: {rank: 64}")
    return {str(key): item.value for key, item in given.parts()}


def _where(given: Located) -> MetricChoice:
    found: MetricChoice = built(MetricChoice, given, "`where`", {"metric": _names, "plugin": _names})
    if (found.role is None) == (not found.metric):
        fix = "Example: where: {role: quality}, or where: {metric: exact, plugin: [function_calling]}"
        raise given.error("`where` names either a role or metrics", fix=fix)
    return found


def _names(given: Located) -> tuple[str, ...]:
    names: tuple[str, ...] = typed(Names, given) if isinstance(given.value, list) else (typed(Name, given),)
    return names


def _expected(given: Located) -> tuple[str, float | str]:
    fix = "Example: expects: {above: 0}, {below: 0.05}, {above: -margin} or {within: margin}"
    if not isinstance(given.value, Mapping) or len(given.value) != 1:
        raise given.error(f"`expects` must name one bound, got {short(given.value)}", fix=fix)
    given.check_keys(("above", "below", "within"))
    ((kind, item),) = given.parts()
    bound = typed(Bound, item)
    if kind == "within" and (bound == "-margin" or (not isinstance(bound, str) and bound <= 0)):
        raise given.error(f"`within` must be more than 0, got {short(bound)}", kind, fix="Example: within: margin")
    return str(kind), bound


def _requirement(given: Located) -> Requirement:
    found: Requirement = built(Requirement, given, "`requires`", {"competence": _terms})
    if len(found.parameters) not in (0, 2):
        fix = "Example: requires: {parameters: [loreft, lora], at_most: 0.1}"
        raise given.error("`parameters` names two plugins", "parameters", fix=fix)
    return found


def built(
    shape: type[Any],
    given: Located,
    who: str,
    build: Mapping[str, Callable[[Located], Any]],
    renamed: Mapping[str, str] | None = None,
) -> Any:
    """A dataclass from a mapping, with every mistake at its line.

    build    key -> what reads its value, for those that are not plain values
    renamed  key in the file -> field
    """
    renamed = renamed or {}
    if not isinstance(given.value, Mapping):
        raise given.error(f"{who} must be a mapping, got {short(given.value)}", fix="Write {key: value, ...}.")
    types = field_types(shape)
    types |= {key: types.pop(own) for key, own in renamed.items()}
    given.check_keys(types)
    needed = [one.name for one in fields(shape) if one.default is MISSING and one.default_factory is MISSING]
    if lacking := [name for name in needed if name not in given.value]:
        raise given.error(f"{who} needs `{lacking[0]}`", fix=f"Add {lacking[0]}: ... (needed: {', '.join(needed)}).")
    values = {key: build[key](item) if key in build else typed(types[key], item) for key, item in given.parts()}
    return shape(**{renamed.get(key, key): value for key, value in values.items()})
