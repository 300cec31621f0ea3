"""What a user can set of ``fool``."""

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
from saliency_audit.options import Option

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
    SALIENCY,
    SCALARS,
    *OF_MAPS,
    *of_images(16),
    *OF_MODEL,
    CLASS_NAMES,
    *OF_RUN,
)
