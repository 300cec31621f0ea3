"""What a user can set of ``fool``."""

from dataclasses import replace

from saliency_audit.catalogue.methods import METHODS, VIEW
from saliency_audit.catalogue.needs import NEEDS
from saliency_audit.catalogue.tricks import OF_LESSON, PICTURE, STRENGTH, TRAIN, TRICKS
from saliency_audit.commands.options import (
    ARGUMENT,
    CLASS_NAMES,
    OF_MAPS,
    OF_MODEL,
    OF_RUN,
    SALIENCY,
    SCALARS,
    of_images,
    options_of,
)
from saliency_audit.commands.quick import QUICK, FirstLook
from saliency_audit.options import Option

FIRST_LOOK = FirstLook(
    {"max_samples": 8, "scalar": ["logit", "log-prob"], "samples": 10},
    ("gradient", "smoothgrad", "gradcam"),
    {"saliency": METHODS},
)
OPTIONS = (
    ARGUMENT,
    Option(
        "trick",
        choices=tuple(TRICKS),
        many=True,
        shown=False,
        common=True,
        help="Manipulation, repeatable. Default: all that need no training.",
    ),
    QUICK,
    *options_of(TRICKS),
    PICTURE,
    STRENGTH,
    TRAIN,
    *OF_LESSON,
    Option(
        "fail_on",
        choices=("forged", "disturbed"),
        common=True,
        help="Exit with 1 if any map is forged (or, for disturbed, changed at all).",
    ),
    replace(
        SALIENCY,
        help="Saliency method, repeatable, or all; see `saliency-audit list saliency`. Default: "
        "all that the model's format allows, those of many passes on one scalar or, on large "
        "images, not at all.",
    ),
    SCALARS,
    NEEDS["masker"].option,
    *NEEDS["masker"].options,
    *OF_MAPS,
    VIEW,
    *of_images(16),
    *OF_MODEL,
    CLASS_NAMES,
    *OF_RUN,
)
