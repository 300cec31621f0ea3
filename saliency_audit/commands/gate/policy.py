"""A policy: what a model must pass to be released, read from TOML and checked before any work."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

from saliency_audit.budget import check_range
from saliency_audit.catalogue.attacks import ATTACKS, TARGET_MAP
from saliency_audit.catalogue.needs import NEEDS, lacking, takers
from saliency_audit.catalogue.tricks import TRICKS, UNTRAINED
from saliency_audit.commands.attack.audit import check_attack
from saliency_audit.commands.attack.verdict import ATTACK_WORDS
from saliency_audit.commands.fool.verdict import FOOL_WORDS
from saliency_audit.commands.gate.policy_values import (
    CHECK,
    DATA,
    FROM_POLICY,
    LIMITS,
    MIN_IMAGES,
    RUN,
    checked,
    options_of_check,
)
from saliency_audit.errors import InputError, lookup
from saliency_audit.methods import METHODS
from saliency_audit.metrics import CHECKS, METRICS
from saliency_audit.models import SCALARS
from saliency_audit.options import Option
from saliency_audit.setting import eps_text

KINDS = ("metric", "trick", "attack")
OWNERS = {check: name for name, metric in METRICS.items() for check in metric.checks}
"""The metric that measures each check."""


@dataclass(frozen=True)
class PolicyCheck:
    """One thing that is required of the model.

    Attributes:
        kind: what is asked: a check of a metric, the verdict on a map under a trick or attack, or
            what the images or the model must be.
        name: of the check, trick or attack.
        saliency: method; empty for what is measured of the model alone.
        scalar: explained; empty likewise, and for controls.
        limit: "at_least", "at_most", "better_than", "no_worse_than" or "verdict".
        value: of the limit: a number, "random", "chance", "baseline", or the accepted words.
        tolerance: how much worse than the baseline the mean may be.
        level: "fail", or "warn" for what refuses nothing.
        inconclusive: the same for a value on the right side whose interval is not.
        options: of the metric, trick or attack.
        line: where it stands in the policy.
        lines: of its keys.
        file: the policy.
    """

    kind: Literal["metric", "trick", "attack", "data", "model"]
    name: str
    saliency: str
    scalar: str
    limit: str
    value: float | str | tuple[str, ...]
    tolerance: float = 0.0
    level: str = "fail"
    inconclusive: str = "fail"
    options: Mapping[str, Any] = field(default_factory=dict)
    line: int = 0
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)
    file: str = field(default="policy", compare=False)

    @property
    def metric(self) -> str:
        """The metric that measures the check."""
        return OWNERS[self.name]

    @property
    def parameters(self) -> dict[str, Any]:
        """Options of a metric, or of an attack's search, by the names they have inside."""
        entry = METRICS[self.metric] if self.kind == "metric" else ATTACKS[self.name]
        known = {o.name: o.key for o in entry.options if o is not TARGET_MAP}
        return {known[name]: value for name, value in self.options.items() if name in known}

    @property
    def title(self) -> str:
        """What is checked, in a line.

        >>> PolicyCheck("metric", "deletion", "gradient", "prob", "at_most", 0.3).title
        'deletion × gradient of prob'
        """
        of = f" of {self.scalar}" if self.scalar not in ("", "logit") else ""
        given = ", ".join(
            f"{key}={eps_text(value) if key == 'eps' else _short(value)}"
            for key, value in self.options.items()
        )
        return (
            self.name
            + (f" × {self.saliency}{of}" if self.saliency else "")
            + (f" ({given})" if given else "")
        )


@dataclass(frozen=True)
class Policy:
    """What a model must pass, and on what.

    Attributes:
        checks: in the order of the file; one for each saliency method.
        data: options of the images and the model's input.
        run: options of the run.
        text: the file.
    """

    checks: tuple[PolicyCheck, ...]
    data: dict[str, Any]
    run: dict[str, Any]
    text: str

    @property
    def seed(self) -> int | None:
        """The seed that the policy says, if it does."""
        said = self.run.get("seed")
        if said == FROM_POLICY:
            return int.from_bytes(sha256(self.text.encode()).digest()[:4], "big")
        return said

    @property
    def images(self) -> PolicyCheck:
        """What the images must be, whatever else is asked."""
        least = self.data.get("min_images", MIN_IMAGES.default)
        return PolicyCheck("data", "distinct images", "", "", "at_least", float(least))

    @property
    def refuses(self) -> bool:
        """Whether there is a model that it refuses: some check does more than warn."""
        return any(check.level == "fail" for check in self.checks)


def read_policy(text: str, name: str) -> Policy:
    """Read a policy; all that can be known to be wrong is refused here, before any work.

    Args:
        text: TOML.
        name: of the file, for messages.

    Raises:
        InputError: names the line, and what was probably meant.
    """
    content = _parsed(text, name)
    lines = _Lines(text)
    with _at(name, lines, "", content):
        tables = checked(
            "the policy", dict.fromkeys(content, ""), {key: Option(key) for key in _TABLES}
        )
    for table in tables:
        wanted = list if table == "check" else dict
        if not isinstance(content[table], wanted):
            written = "[[check]]" if table == "check" else f"[{table}]"
            raise InputError(f"{name}, line {lines.of('', table)}: write {written} for {table}")
    with _at(name, lines, "data", content.get("data", {})):
        data = checked("[data]", content.get("data", {}), DATA)
    with _at(name, lines, "run", content.get("run", {})):
        run = checked("[run]", content.get("run", {}), RUN)
        if "scalar" in run:
            lookup("scalar", SCALARS, run["scalar"], option="scalar")
    given = content.get("check", [])
    if not given:
        raise InputError(f"{name} has no [[check]], so there is nothing to pass; add one")
    checks: list[PolicyCheck] = []
    for i, table in enumerate(given):
        if not isinstance(table, dict):
            raise InputError(f"{name}: check {i + 1} is no table; write a [[check]] of its own")
        with _at(name, lines, "check", table, i):
            checks += _checks(table, run, lines, i, name)
            _refuse_missing(checks[-1], data, run)
    for where, given_there in (("run", run), ("data", data)):
        with _at(name, lines, where, given_there):
            _refuse_unused(where, given_there, checks)
    return Policy(tuple(checks), data, run, text)


DEEPEST = 8
"""Most tables, lists and parts of a name inside each other; a policy needs three."""
_LONG_NAME = re.compile(
    r"""(?<![\w"'\\-])(?:(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){32}"""
)
"""A dotted name, written so that no text makes the search go back."""
_LONG_NUMBER = re.compile(r"[\d_]{4000}")


def _parsed(text: str, name: str) -> dict[str, Any]:
    """What the TOML says.

    Raises:
        InputError: it is none, or what no policy has: no parser bears names of a hundred thousand
            parts, brackets inside brackets without end, or numbers of thousands of digits.
    """
    if found := _LONG_NAME.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise InputError(f"{name}, line {line}: a name has too many parts; a policy needs two")
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{name} is not TOML: {error}") from error
    except ValueError as error:
        number = _LONG_NUMBER.search(text)
        line = text.count("\n", 0, number.start()) + 1 if number else 1
        raise InputError(
            f"{name}, line {line}: a number has thousands of digits; give a shorter one"
        ) from error
    except RecursionError:
        # Without its cause, which would be thousands of frames.
        raise InputError(f"{name} is {_DEEP}") from None
    level: list[Any] = [content]
    for _ in range(DEEPEST):
        level = [item for one in level for item in _inside(one)]
    if level:
        raise InputError(f"{name} is {_DEEP}")
    return content


_DEEP = f"nested more than {DEEPEST} deep; a policy is [data], [run] and [[check]]"


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


_TABLES = ("check", "data", "run")


def _refuse_missing(check: PolicyCheck, data: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Refuse a metric without what it needs beside the images; labels are left to the run."""
    if check.kind != "metric":
        return
    for name, need in lacking(METRICS[check.metric], {**data, **run}):
        if need.by_default:
            continue  # what there is, the model decides
        raise InputError(
            f'{check.name} {need.why}; name it in [{need.table}], such as {name} = "{need.example}"'
        )


def _refuse_unused(where: str, given: Mapping[str, Any], checks: list[PolicyCheck]) -> None:
    """Refuse a model, annotations or a masking network that no check looks at."""
    asked = {check.metric for check in checks if check.kind == "metric"}
    asked |= {check.saliency for check in checks}
    of_need = {o.name: name for name, need in NEEDS.items() for o in (need.option, *need.options)}
    for key in given:
        if key in of_need and not set(takers(of_need[key])) & asked:
            names = ", ".join(sorted(n for n in takers(of_need[key]) if not _beyond(n)))
            raise InputError(
                f"{key} is in [{where}] for {names}, which no [[check]] asks for; drop it",
                option=key,
            )


def _checks(
    table: Mapping[str, Any], run: Mapping[str, Any], lines: "_Lines", index: int, file: str
) -> list[PolicyCheck]:
    """One check for each saliency method of a ``[[check]]``."""
    kinds: list[Any] = [kind for kind in KINDS if kind in table]
    if len(kinds) != 1:
        # A misspelt key may be why there is none.
        checked("[[check]]", table if not kinds else {}, CHECK)
        has = " and ".join(kinds) or "neither metric, trick nor attack"
        raise InputError(f"a [[check]] names one metric, trick or attack; this one has {has}")
    kind = kinds[0]
    name = checked("[[check]]", {kind: table[kind]}, CHECK)[kind]
    registries: dict[str, Mapping[str, Any]]
    registries = {"metric": OWNERS, "trick": dict.fromkeys(UNTRAINED), "attack": _ON_MAPS}
    if name in ("pgd", "random") and kind == "attack":
        raise InputError(
            f'attack "{name}" aims at no map; write metric = "robust-accuracy"', option=kind
        )
    if kind == "trick" and name in TRICKS and TRICKS[name].trains:
        raise InputError(
            f"{name} trains weights, which a gate does not; ask saliency-audit fool --trick {name}",
            option=kind,
        )
    if kind == "metric" and (does := _beyond(name)):
        worse = " --fail-on worse" * (METRICS[OWNERS[name]].verdict is not None)
        raise InputError(
            f"{name} {does}, which a gate does not; ask saliency-audit evaluate --metric "
            f"{OWNERS[name]}{worse}",
            option=kind,
        )
    lookup(kind, registries[kind], name, option=kind)
    options = options_by_key(kind, name)
    values = checked(f"a [[check]] of {name}", table, {**CHECK, **options})
    methods = values.get("saliency", ())
    for method in methods:
        lookup("saliency method", METHODS, method, option="saliency")
    scalar = values.get("scalar", run.get("scalar", "logit"))
    lookup("scalar", SCALARS, scalar, option="scalar")
    of_model = kind == "metric" and METRICS[OWNERS[name]].of == "model"
    if of_model and ("saliency" in values or "scalar" in values):
        raise InputError(f"{name} is measured of the model alone; drop saliency and scalar")
    if not of_model and not methods:
        raise InputError(f'{name} is measured of maps; add saliency, such as saliency = "gradient"')
    limit = _limit_of_verdict(kind, values) if kind != "metric" else _limit(name, values, methods)
    soft = {key: values.get(key, run.get(key, "fail")) for key in ("level", "inconclusive")}
    checks = [
        PolicyCheck(
            kind,
            name,
            method,
            "" if of_model or METHODS[method].control else scalar,
            limit,
            values[limit],
            tolerance=values.get("tolerance", 0.0),
            options={key: _option(key, values[key]) for key in values if key in options},
            line=lines.of("check", index=index),
            lines={key: lines.of("check", key, index) for key in values},
            file=file,
            **soft,
        )
        for method in dict.fromkeys(methods or ("",))
    ]
    if kind == "attack":
        eps = values.get("eps")
        if eps is not None:
            check_range(eps, values.get("norm", "linf"))
        check_attack(
            [name],
            methods,
            [scalar],
            eps=None if eps is None else [eps],
            norm=values.get("norm", "linf"),
            search=checks[0].parameters,
        )
    return checks


def options_by_key(kind: str, name: str) -> dict[str, Option]:
    """Options of what a check measures."""
    return options_of_check(kind, OWNERS[name] if kind == "metric" else name)


def _option(key: str, value: Any) -> Any:
    """A value as the function takes it: a fill that is a number is text there."""
    return str(value) if key == "fill" else value


_ON_MAPS = {name: attack for name, attack in ATTACKS.items() if attack.goal}


def _beyond(check: str) -> str:
    """What the metric of a check does that no gate does; empty for nothing of that kind."""
    metric = METRICS.get(OWNERS.get(check, ""))
    if metric is None:
        return ""
    if metric.of == "training" or metric.networks:
        return "trains networks anew"
    return "makes images with the network" if metric.of == "samples" else ""


def _limit_of_verdict(kind: str, values: Mapping[str, Any]) -> str:
    """``verdict``, with words that the audit knows."""
    words = FOOL_WORDS if kind == "trick" else ATTACK_WORDS
    for key in (*LIMITS, "tolerance", "inconclusive"):
        if key in values:
            raise InputError(
                f"{key} is for metrics; a {kind} is judged by verdict = [...]", option=key
            )
    accepted = {word: meaning for word, meaning in words.items() if word != "undefined"}
    if not values.get("verdict"):
        best = list(accepted)[-1]
        raise InputError(f'say which verdicts pass, such as verdict = ["{best}"]')
    for word in values["verdict"]:
        if word == "undefined":
            raise InputError(
                "verdict is 'undefined', which never passes; leave it out", option="verdict"
            )
        lookup("verdict", accepted, word, option="verdict")
    if set(values["verdict"]) == set(accepted):
        raise InputError(
            "verdict is every word there is, so nothing fails; leave one out", option="verdict"
        )
    return "verdict"


def _limit(name: str, values: Mapping[str, Any], methods: tuple[str, ...]) -> str:
    """The key of a metric's limit, if that limit makes sense for it."""
    metric, check = METRICS[OWNERS[name]], CHECKS[name]
    if "verdict" in values:
        raise InputError(
            f"verdict is for tricks and attacks; give {name} a limit", option="verdict"
        )
    limits = [key for key in LIMITS if key in values]
    if len(limits) != 1:
        has = " and ".join(limits) or "none"
        raise InputError(f"a [[check]] has one limit of {', '.join(LIMITS)}; this one has {has}")
    limit = limits[0]
    given = f"{limit} is '{values[limit]}'"
    if "tolerance" in values and limit != "no_worse_than":
        raise InputError(f"tolerance is for no_worse_than; {limit} says it all", option="tolerance")
    if limit in ("better_than", "no_worse_than") and check.higher_is_better is None:
        raise InputError(
            f"{given}, but neither end of {name} is better; give at_least or at_most", option=limit
        )
    if values.get("better_than") == "random" and metric.verdict != "random":
        raise InputError(
            f"{given}, to which {name} does not compare; give at_least or at_most", option=limit
        )
    if values.get("better_than") == "random" and "random" in methods:
        raise InputError(
            f"{given}, which cannot be better than itself; name another method", option=limit
        )
    if values.get("better_than") == "chance" and not (check.chance and check.higher_is_better):
        raise InputError(
            f"{given}, and {name} has none known beforehand; give another limit", option=limit
        )
    _refuse_empty(name, limit, values)
    return limit


def _refuse_empty(name: str, limit: str, values: Mapping[str, Any]) -> None:
    """Refuse a limit that every model keeps, that none can keep, or that asks for the worse."""
    low, high = CHECKS[name].bounds
    better = CHECKS[name].higher_is_better
    if limit == "no_worse_than" and values.get("tolerance", 0.0) >= high - low:
        raise InputError(
            f"tolerance is {values['tolerance']:g}, and {name} lies between {low:g} and {high:g}: "
            "nothing is worse than that; give less",
            option="tolerance",
        )
    if limit not in ("at_least", "at_most"):
        return
    value, least = values[limit], limit == "at_least"
    given = f"{limit} is {value:g}"
    if better is not None and better != least:
        direction, other = ("higher", "at_least") if better else ("lower", "at_most")
        raise InputError(
            f"{given}, but of {name} {direction} is better; give {other}", option=limit
        )
    ends = f"{name} lies between {low:g} and {high:g}"
    if value <= low if least else value >= high:
        raise InputError(
            f"{given}, which every model keeps ({ends}); give a limit inside", option=limit
        )
    if value > high if least else value < low:
        raise InputError(
            f"{given}, which no model can keep ({ends}); give a limit inside", option=limit
        )


class _Lines:
    r"""Where tables and keys stand; TOML's own reader does not say.

    >>> lines = _Lines("[run]\nseed = 1\n[[check]]\nmetric = 'a'\n[[check]]\nmetric = 'b'")
    >>> lines.of("run", "seed"), lines.of("check", "metric", index=1), lines.of("check", index=1)
    (2, 6, 5)
    """

    def __init__(self, text: str) -> None:
        self._places: dict[tuple[str, int, str], int] = {}
        table, seen = "", dict[str, int]()
        # TOML knows fewer ends of lines than Python.
        for number, line in enumerate(text.split("\n"), 1):
            if header := re.match(r"\s*+\[\[?+([^\]]*+)\]", line):
                table = header[1].strip().strip('"')
                seen[table] = seen.get(table, -1) + 1
                self._places.setdefault((table, seen[table], ""), number)
            elif key := re.match(r'\s*+"?([\w-]++)"?\s*+[=.]', line):
                self._places.setdefault((table, seen.get(table, 0), key[1]), number)

    def of(self, table: str, key: str = "", index: int = 0) -> int:
        """Line of a key, or else of its table, or else 1."""
        places = ((table, index, key), (table, index, ""), (key or table, 0, ""), ("", 0, table))
        return next((self._places[place] for place in places if place in self._places), 1)


@contextmanager
def _at(
    name: str, lines: _Lines, table: str, given: Mapping[str, Any], index: int = 0
) -> Iterator[None]:
    """Put file and line before what is wrong inside: of the key it is about, or of the table."""
    try:
        yield
    except InputError as error:
        line = lines.of(table, error.option if error.option in given else "", index)
        raise InputError(f"{name}, line {line}: {error.about(error.option)}") from error


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_short, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
