"""What a user can set of ``evaluate``."""

from dataclasses import replace

from saliency_audit.catalogue.methods import MAPS, METHODS, VIEW
from saliency_audit.catalogue.metric_presets import PRESETS
from saliency_audit.catalogue.metrics import METRICS
from saliency_audit.catalogue.needs import NEEDS
from saliency_audit.commands.options import (
    ARGUMENT,
    CLASS_NAMES,
    EXPLAIN,
    OF_MAPS,
    OF_MODEL,
    OF_RUN,
    RUN,
    SCALAR,
    of_images,
    options_of,
)
from saliency_audit.commands.quick import QUICK, FirstLook
from saliency_audit.options import Option

_BESIDE = NEEDS["other"].option.panel
ANEW = "anew"
"""The judge that a run trains itself; a file of that name is ./anew."""
FIRST_LOOK = FirstLook(
    {"max_samples": 8, "samples": 10, "steps": 8, "stages": 2, "draws": 1},
    ("gradient", "smoothgrad", "gradcam"),
    {"saliency": METHODS, "metric": METRICS},
)
OPTIONS = (
    ARGUMENT,
    Option(
        "metric",
        many=True,
        panel="Metrics",
        shown=False,
        common=True,
        help="Metric, repeatable; see `saliency-audit list metrics`. Default: deletion, "
        "preservation, sanity-cascade, scalar-agreement.",
    ),
    QUICK,
    Option(
        "preset",
        choices=tuple(PRESETS),
        panel="Metrics",
        help="Options of metrics and maps as in a paper; without --metric, its metrics.",
    ),
    Option(
        "base",
        panel="Metrics",
        help="aopc: also report each method's relative drop against this one.",
    ),
    Option(
        "fail_on",
        choices=("worse", "not-distinguishable"),
        panel="Metrics",
        common=True,
        help="Exit with 1 if any map is worse than random or undefined (for "
        "not-distinguishable, if any is not better).",
    ),
    Option(
        "saliency",
        many=True,
        panel=MAPS,
        shown=False,
        common=True,
        help="Saliency method, repeatable; see `saliency-audit list saliency`. Default: "
        "gradient, smoothgrad, integrated-gradients, gradcam. The controls random and "
        "sobel are always measured too.",
    ),
    SCALAR,
    *OF_MAPS,
    replace(
        VIEW,
        help="How maps are scaled, in pictures and where an image is shown through one (retrieval, "
        "class-evidence): from the least magnitude to the 99th percentile or the largest, with "
        "signs, or a mask as it is. Default: symmetric in pictures, else percentile99.",
    ),
    Option(
        "compare",
        many=True,
        panel=_BESIDE,
        shown=False,
        common=True,
        help="A further model measured on the same images, repeatable; the paired difference "
        "to the first is reported.",
    ),
    Option(
        "maps",
        many=True,
        metavar="[NAME=]PATH",
        panel=_BESIDE,
        common=True,
        help="Folder of maps made elsewhere (.npy, .npz, .png), one per image, named like it, and "
        "what to call them; repeatable.",
    ),
    replace(EXPLAIN, panel=_BESIDE),
    *(option for need in NEEDS.values() for option in (need.option, *need.options)),
    Option(
        "recipe",
        many=True,
        metavar="NAME=VALUE",
        panel="Training anew",
        help="How networks are trained: epochs, batch-size, lr, optimizer, schedule, momentum, "
        "weight-decay, augment, max-steps; repeatable. Default: epochs=5, batch-size=100, "
        "optimizer=adam, lr=0.001, schedule=constant.",
    ),
    Option(
        "retrain",
        metavar="ARCH",
        panel="Training anew",
        help="Architecture that is trained, as --arch. Default: the model's own.",
    ),
    *(option for option in options_of(METRICS) if option.name != VIEW.name),
    *of_images(32),
    *OF_MODEL,
    CLASS_NAMES,
    *OF_RUN,
    Option(
        "compile",
        "flag",
        default=False,
        panel=RUN,
        help="Compile the network, about a minute, for metrics that look at changed images without "
        "a gradient (deletion); numbers change by round-off. On CPUs; needs a C++ compiler.",
    ),
)
