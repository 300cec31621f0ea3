"""Changes of the image."""

from saliency_audit.catalogue.entries import Attack, Goal, Search
from saliency_audit.options import Option
from saliency_audit.ranges import BUDGET, MANY, NOISE, POSITIVE, Range

STEPS = 20
"""Of attacks that do not say."""
OF_STEPS = Option(
    "steps",
    "whole",
    range=MANY,
    panel="Search",
    shown=False,
    help="Steps of the search. Default: 20, structured 100.",
)
STEP_SIZE = Option(
    "step_size",
    "fraction",
    range=BUDGET,
    panel="Search",
    shown=False,
    help="Pixel units. Default: 2.5 eps / steps; 0.3 / steps without eps; twice that for "
    "evolution.",
)
GRADIENT, EVOLUTION = "gradient", "evolution"
"""The two searches, by their names."""
SEARCH = Option(
    "search",
    parameter="rule",
    choices=(GRADIENT, "sign", "normalised", "adam", EVOLUTION),
    panel="Search",
    shown=False,
    help="What the search goes by: the map's gradient (its sign, normalised, or by Adam; gradient "
    "is sign for linf, normalised for l2, adam for structured), or evolution, which needs maps and "
    "logits alone: for methods and models that cannot be differentiated. Default: gradient.",
)
MOMENTUM = Option(
    "momentum",
    "number",
    range=NOISE,
    panel="Search",
    shown=False,
    help="Of MI-FGSM, such as 1. Default: 0.",
)
RESTARTS = Option(
    "restarts",
    "whole",
    range=MANY,
    panel="Search",
    shown=False,
    help="Starts; all but the first at random points of the budget. Default: 1.",
)
SURROGATE = Option(
    "surrogate",
    parameter="smooth",
    choices=("exact-forward", "softplus", "none"),
    panel="Search",
    shown=False,
    help="Smooth stand-in for second derivatives: same output, softplus in both directions"
    " (as in the papers), or none for networks that are smooth already. Default: "
    "exact-forward.",
)
BETA = Option(
    "beta",
    "number",
    range=POSITIVE,
    panel="Search",
    shown=False,
    help="Its sharpness. Default: 30.",
)
BETA_GROWTH = Option(
    "beta_growth",
    "switch",
    panel="Search",
    written="--beta-growth/--no-beta-growth",
    shown=False,
    help="Sharpness from 10 to 100 in the course of the search. Default: for structured.",
)
LOSS = Option(
    "loss",
    choices=("xent", "cw"),
    panel="Search",
    shown=False,
    help="pgd: cross-entropy or the margin of Carlini and Wagner. Default: xent.",
)
RANDOM_START = Option(
    "random_start",
    "switch",
    parameter="from_random",
    panel="Search",
    written="--random-start/--no-random-start",
    shown=False,
    help="pgd: start at a random point of the budget. Default: yes.",
)
TARGET_MAP = Option(
    "target_map",
    "path",
    shown=False,
    help="Picture that structured wants as the map, and whose bright half is the region of"
    " target-region. Default: the first image's map (for that one the second's), the least salient"
    " quarter.",
)
POPULATION = Option(
    "population",
    "whole",
    range=Range(2, 100_000),
    panel="Search",
    shown=False,
    help="evolution: images tried in each step. Default: 50.",
)
EVOLUTION_STD = Option(
    "evolution_std",
    "fraction",
    parameter="std",
    range=Range(0, 1000.0, above=True),
    panel="Search",
    shown=False,
    help="evolution: their standard deviation at the start, pixel units. Default: half of eps "
    "(of its share for each value in l2); 0.1 without eps.",
)
CROSS_CHECK = Option(
    "cross_check",
    "flag",
    panel="Search",
    shown=False,
    help="Search by evolution, too, with the same budget: a map that it moves further than the "
    "gradient did is not called steady.",
)
_SEARCH = (OF_STEPS, STEP_SIZE, SEARCH, MOMENTUM, RESTARTS)
SEARCHES = {
    GRADIENT: Search(
        "attacks.descend:descend",
        (OF_STEPS, STEP_SIZE, MOMENTUM, RESTARTS, SURROGATE, BETA, BETA_GROWTH),
    ),
    EVOLUTION: Search(
        "attacks.evolution:evolve",
        (OF_STEPS, STEP_SIZE, POPULATION, EVOLUTION_STD),
    ),
}
"""Of attacks on maps, by their names."""
_ON_MAPS = (*_SEARCH, SURROGATE, BETA, BETA_GROWTH, POPULATION, EVOLUTION_STD, CROSS_CHECK)

ATTACKS: dict[str, Attack] = {
    "topk": Attack(
        "attacks.descend:descend",
        "take the map's mass out of its most salient pixels",
        "Ghorbani et al. 2019; P2 S2.2",
        Goal("attacks.topk:topk", criterion="attacks.topk:topk_shared", floor=0.0),
        sentence="takes saliency away from the pixels that had most of it.",
        options=_ON_MAPS,
    ),
    "mass-center": Attack(
        "attacks.descend:descend",
        "move the map's centre of mass",
        "Ghorbani et al. 2019",
        Goal("attacks.mass_center:mass_center"),
        aim="mass-center-shift",
        sentence="shifts the map's centre of mass.",
        options=_ON_MAPS,
        defaults={"random_step": True},
    ),
    "target-region": Attack(
        "attacks.descend:descend",
        "bring the map's mass into a region, the least salient quarter unless a picture is given",
        "Ghorbani et al. 2019",
        Goal("attacks.target_region:target_region", wants="region"),
        aim="mass-in-target",
        sentence="gathers saliency in a region chosen beforehand.",
        options=(TARGET_MAP, *_ON_MAPS),
    ),
    "structured": Attack(
        "attacks.descend:descend",
        "make the map look like that of the first image, or like a picture",
        "Dombrowski et al. 2019; P2 S2.2",
        Goal("attacks.structured:structured", wants="map"),
        aim="pearson-to-target",
        sentence="makes the map look like another one, chosen beforehand (unless a picture is "
        "given that of the first image, and of the second for the first), while the class "
        "probabilities stay.",
        options=(TARGET_MAP, *_ON_MAPS),
        defaults={"rule": "adam", "steps": 100, "beta_growth": True, "keep_prediction": True},
        budgeted=False,
    ),
    "pgd": Attack(
        "attacks.pgd:pgd",
        "change the prediction",
        "Madry et al. 2018; P2 S2.2, P3 2.1, P4",
        sentence="changes the prediction, whatever happens to the map.",
        options=(*_SEARCH, LOSS, RANDOM_START),
    ),
    "random": Attack(
        "attacks.random:random",
        "noise of the same size: the control",
        "ours",
        sentence="is noise of the same size, the control.",
    ),
}
"""By the name that is asked for."""
