"""What is attacked with what: one job for each set of attacked images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from saliency_audit.attacks import ATTACKS, EVOLUTION, GRADIENT
from saliency_audit.catalogue.methods import CONTROLS as UNEXPLAINED
from saliency_audit.setting import eps_text, parts_of

RANDOM, RANDOM_WORST, WORST_CASE = "random", "random-worst", "worst-case"
CONTROLS = (RANDOM, RANDOM_WORST)
STAND_IN = "surrogate-agreement"
"""The check of what a search follows; without a value on any image, it could follow nothing."""


@dataclass(frozen=True)
class Job:
    """One attack with one budget on one method under one scalar.

    Attributes:
        attack: a name in ``ATTACKS``.
        eps: budget in pixel units; None for none.
        norm: of the budget.
        saliency: the attacked method; empty for attacks on the prediction.
        scalar: the explained scalar of the attacked map; empty likewise, and of controls, which
            explain none.
        search: a name in ``SEARCHES``.
        beside: whether it only checks another search.
    """

    attack: str
    eps: float | None
    norm: str
    saliency: str = ""
    scalar: str = ""
    search: str = GRADIENT
    beside: bool = False

    @property
    def setting(self) -> str:
        """As ``results.csv`` writes it."""
        return attack_setting(
            self.attack, self.eps, self.norm, attacked=self.saliency, search=self.search
        )

    @property
    def wants(self) -> str:
        """What the goal's reference is: "clean", "region", "map", or nothing."""
        goal = ATTACKS[self.attack].goal
        return goal.wants if goal else ""


def attack_setting(
    attack: str,
    eps: float | None,
    norm: str,
    *,
    attacked: str = "",
    toward: str = "",
    search: str = GRADIENT,
) -> str:
    """``key=value`` pairs, joined by semicolons.

    >>> attack_setting("topk", 8 / 255, "linf", attacked="gradient")
    'attack=topk;eps=8/255;attacked=gradient'
    >>> attack_setting("random", 2.0, "l2", toward="structured")
    'attack=random;eps=2;norm=l2;toward=structured'
    >>> attack_setting("topk", 8 / 255, "linf", attacked="lrp", search="evolution")
    'attack=topk;eps=8/255;attacked=lrp;search=evolution'
    """
    parts = {
        "attack": attack,
        "eps": eps_text(eps),
        "norm": "" if norm == "linf" or eps is None else norm,
        "attacked": attacked,
        "toward": toward,
        "search": "" if search == GRADIENT else search,
    }
    return ";".join(f"{name}={value}" for name, value in parts.items() if value)


def control_of(check: str, setting: str) -> str | None:
    """The setting under which noise of the same size was measured; None for what has none.

    >>> control_of("cosine", "attack=topk;eps=8/255;attacked=gradient")
    'attack=random;eps=8/255'
    >>> control_of("pearson-to-target", "attack=structured;eps=none;attacked=gradient")
    'attack=random;eps=none;attacked=gradient;toward=structured'
    >>> control_of("surrogate-agreement", "surrogate=softplus;beta=30") is None
    True
    """
    parts = parts_of(setting)
    attack = parts.pop("attack", None)
    if attack not in (*ATTACKS, WORST_CASE) or attack in CONTROLS or "step" in parts:
        return None
    # Noise is the same beside any search.
    parts.pop("search", None)
    if parts["eps"] != "none":
        parts.pop("attacked", None)
    wanted = check.endswith("-to-target") or check == "mass-in-target"
    space = parts.pop("space", None)
    named = {"attack": RANDOM_WORST if attack == WORST_CASE else RANDOM, **parts}
    if wanted:
        named["toward"] = attack
    if space:
        named["space"] = space
    return ";".join(f"{name}={value}" for name, value in named.items())


def without_search(setting: str) -> str:
    """The setting of the search that follows the gradient.

    >>> without_search("attack=topk;eps=8/255;attacked=gradient;search=evolution")
    'attack=topk;eps=8/255;attacked=gradient'
    """
    return ";".join(part for part in setting.split(";") if not part.startswith("search="))


def jobs(
    attacks: Sequence[str],
    methods: Sequence[str],
    scalars: Sequence[str],
    *,
    eps: Sequence[float] | None,
    norm: str,
    default_eps: float,
    search: str = GRADIENT,
    cross_check: bool = False,
) -> list[Job]:
    """Every combination that makes sense, in the order given.

    Args:
        attacks: names in ``ATTACKS``.
        methods: to attack.
        scalars: explained.
        eps: budgets; None means ``default_eps``, and none for attacks that need none.
        norm: of the budgets.
        default_eps: of attacks that need one.
        search: of attacks on maps, a name in ``SEARCHES``.
        cross_check: whether each map is searched for by evolution, too.
    """
    planned = []
    for attack in attacks:
        entry = ATTACKS[attack]
        # Budgets that are written alike are the same.
        named = {eps_text(size): size for size in eps or ()}
        budgets: Sequence[float | None] = list(named.values()) or (
            [default_eps] if entry.budgeted else [None]
        )
        pairs: Sequence[tuple[str, str]] = (
            [
                (method, scalar)
                for method in methods
                for scalar in ([""] if method in UNEXPLAINED else scalars)
            ]
            if entry.goal
            else [("", "")]
        )
        searches = [(search, False)] if entry.goal else [(GRADIENT, False)]
        if entry.goal and cross_check:
            searches.append((EVOLUTION, True))
        planned += [
            Job(attack, size, norm, *pair, *how)
            for size in budgets
            for pair in pairs
            for how in searches
        ]
    return planned


def goals() -> Mapping[str, str]:
    """What each attack is after, as ``images/manifest.csv`` says it."""
    return {
        name: (entry.goal.function.__name__.replace("_", "-") if entry.goal else "prediction")
        for name, entry in ATTACKS.items()
    }
