"""What a user can set of ``attack``."""

from saliency_audit.commands.options import (
    ARGUMENT,
    MAPS,
    OF_MAPS,
    OF_MODEL,
    OF_RUN,
    SCALARS,
    of_images,
)
from saliency_audit.options import Option

OPTIONS = (
    ARGUMENT,
    Option(
        "attack",
        choices=("topk", "mass-center", "target-region", "structured", "pgd", "random"),
        many=True,
        shown=False,
        help="Attack, repeatable; see `saliency-audit list attacks`. The control, random, "
        "always runs. Default: topk.",
    ),
    Option(
        "eps",
        "fraction",
        many=True,
        shown=False,
        help="Budget, images being in [0, 1]; repeatable: 8/255. Default: 8/255, none for "
        "structured.",
    ),
    Option("norm", choices=("linf", "l2"), shown=False, help="Norm of the budget. Default: linf."),
    Option(
        "measure",
        many=True,
        shown=False,
        help="Saliency method measured under the attacks, repeatable. Default: all that the "
        "model's format allows.",
    ),
    Option(
        "k",
        "fraction",
        shown=False,
        help="Most salient pixels: a share below 1, or a count. Default: 0.02.",
    ),
    Option(
        "target_map",
        "path",
        shown=False,
        help="Picture that structured wants as the map, and whose bright half is the region of"
        " target-region. Default: another image's map, the least salient quarter.",
    ),
    Option(
        "preset",
        choices=(
            "ghorbani",
            "dombrowski",
            "relex-topk",
            "relex-structured",
            "relex-pgd",
            "moreau-l2",
            "p3-pgd",
            "p4-mnist",
            "p4-cifar",
        ),
        shown=False,
        help="Every number of a paper's setting; other options override it. See "
        "`saliency-audit list presets`.",
    ),
    Option(
        "fail_on",
        choices=("fragile", "shifted"),
        help="Exit with 1 if any map is fragile (or, for shifted, moved at all).",
    ),
    Option(
        "steps",
        "whole",
        panel="Search",
        shown=False,
        help="Steps of the search. Default: 20, structured 100.",
    ),
    Option(
        "step_size",
        "fraction",
        panel="Search",
        shown=False,
        help="Pixel units. Default: 2.5 eps / steps; 0.3 / steps without eps.",
    ),
    Option(
        "search",
        choices=("sign", "normalised", "adam"),
        panel="Search",
        shown=False,
        help="Step by the sign, the normalised gradient, or Adam. Default: sign for linf, "
        "normalised for l2, adam for structured.",
    ),
    Option(
        "momentum", "number", panel="Search", shown=False, help="Of MI-FGSM, such as 1. Default: 0."
    ),
    Option(
        "restarts",
        "whole",
        panel="Search",
        shown=False,
        help="Starts; all but the first at random points of the budget. Default: 1.",
    ),
    Option(
        "surrogate",
        choices=("exact-forward", "softplus", "none"),
        panel="Search",
        shown=False,
        help="Smooth stand-in for second derivatives: same output, softplus in both directions"
        " (as in the papers), or none for networks that are smooth already. Default: "
        "exact-forward.",
    ),
    Option("beta", "number", panel="Search", shown=False, help="Its sharpness. Default: 30."),
    Option(
        "beta_growth",
        "switch",
        panel="Search",
        written="--beta-growth/--no-beta-growth",
        shown=False,
        help="Sharpness from 10 to 100 in the course of the search. Default: for structured.",
    ),
    Option(
        "loss",
        choices=("xent", "cw"),
        panel="Search",
        shown=False,
        help="pgd: cross-entropy or the margin of Carlini and Wagner. Default: xent.",
    ),
    Option(
        "random_start",
        "switch",
        panel="Search",
        written="--random-start/--no-random-start",
        shown=False,
        help="pgd: start at a random point of the budget. Default: yes.",
    ),
    Option(
        "saliency",
        many=True,
        panel=MAPS,
        shown=False,
        help="Attacked saliency method, repeatable, or all. Default: gradient, "
        "input-x-gradient, smoothgrad, integrated-gradients, gradcam.",
    ),
    SCALARS,
    *OF_MAPS,
    *of_images(8),
    *OF_MODEL,
    *OF_RUN,
)
