"""Changes of the image."""

from saliency_audit.catalogue.entries import Attack, Goal
from saliency_audit.options import Option
from saliency_audit.ranges import BUDGET, MANY, NOISE, POSITIVE

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
    help="Pixel units. Default: 2.5 eps / steps; 0.3 / steps without eps.",
)
SEARCH = Option(
    "search",
    parameter="rule",
    choices=("sign", "normalised", "adam"),
    panel="Search",
    shown=False,
    help="Step by the sign, the normalised gradient, or Adam. Default: sign for linf, "
    "normalised for l2, adam for structured.",
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
    " target-region. Default: another image's map, the least salient quarter.",
)
_SEARCH = (OF_STEPS, STEP_SIZE, SEARCH, MOMENTUM, RESTARTS)
_ON_MAPS = (*_SEARCH, SURROGATE, BETA, BETA_GROWTH)

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
        "make the map look like that of another image, or like a picture",
        "Dombrowski et al. 2019; P2 S2.2",
        Goal("attacks.structured:structured", wants="map"),
        aim="pearson-to-target",
        sentence="makes the map look like another one, chosen beforehand, while the class "
        "probabilities stay.",
        options=(TARGET_MAP, *_ON_MAPS),
        defaults={"rule": "adam", "steps": 100, "beta_growth": True, "keep_prediction": True},
        budgeted=False,
    ),
    "pgd": Attack(
        "attacks.pgd:pgd",
        "change the predicted class",
        "Madry et al. 2018; P2 S2.2, P3 2.1, P4",
        sentence="changes the predicted class, whatever happens to the map.",
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
