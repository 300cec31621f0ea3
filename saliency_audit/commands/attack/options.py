"""What a user can set of ``attack``."""

from dataclasses import replace

from saliency_audit.catalogue.attack_presets import PRESETS
from saliency_audit.catalogue.attacks import ATTACKS
from saliency_audit.catalogue.methods import MAPS, METHODS, VIEW
from saliency_audit.catalogue.needs import NEEDS
from saliency_audit.commands.options import (
    ARGUMENT,
    CLASS_NAMES,
    EXPLAIN,
    OF_MAPS,
    OF_MODEL,
    OF_RUN,
    SCALARS,
    of_images,
    options_of,
)
from saliency_audit.commands.quick import QUICK, FirstLook
from saliency_audit.options import Option
from saliency_audit.ranges import BUDGET, PIXELS

EPS = Option(
    "eps",
    "fraction",
    range=BUDGET,
    many=True,
    shown=False,
    common=True,
    help="Budget, images being in [0, 1]; repeatable: 8/255. Default: 8/255, none for structured.",
)
NORM = Option(
    "norm", choices=("linf", "l2"), shown=False, help="Norm of the budget. Default: linf."
)
K = Option(
    "k",
    "fraction",
    range=PIXELS,
    shown=False,
    help="Most salient pixels: a share below 1, or a count. Default: 0.02.",
)
FIRST_LOOK = FirstLook(
    {"max_samples": 8, "steps": 5}, ("gradient",), {"saliency": METHODS, "attack": ATTACKS}
)
OPTIONS = (
    ARGUMENT,
    Option(
        "attack",
        choices=tuple(ATTACKS),
        many=True,
        shown=False,
        common=True,
        help="Attack, repeatable; see `saliency-audit list attacks`. The control, random, "
        "always runs. Default: topk.",
    ),
    EPS,
    NORM,
    Option(
        "measure",
        many=True,
        shown=False,
        common=True,
        help="Saliency method measured under the attacks, repeatable, or all. Default: the "
        "attacked ones and those that take few passes.",
    ),
    K,
    Option(
        "preset",
        choices=tuple(PRESETS),
        shown=False,
        help="Every number of a paper's setting; other options override it. See "
        "`saliency-audit list presets`.",
    ),
    Option(
        "fail_on",
        choices=("fragile", "shifted"),
        common=True,
        help="Exit with 1 if any map is fragile (or, for shifted, moved at all).",
    ),
    QUICK,
    *options_of(ATTACKS),
    Option(
        "saliency",
        many=True,
        panel=MAPS,
        shown=False,
        common=True,
        help="Attacked saliency method, repeatable, or all. Default: gradient, "
        "input-x-gradient, smoothgrad, integrated-gradients, gradcam.",
    ),
    EXPLAIN,
    SCALARS,
    replace(
        NEEDS["train"].option,
        panel=MAPS,
        help="rt-sal: images to train its network on, written like --data; without it, of the "
        "bundled model, 6,000 bundled ones.",
    ),
    NEEDS["masker"].option,
    *NEEDS["masker"].options,
    *OF_MAPS,
    VIEW,
    *of_images(8),
    *OF_MODEL,
    CLASS_NAMES,
    *OF_RUN,
)
