"""What a user can set of ``check``."""

from saliency_audit.catalogue.methods import METHODS
from saliency_audit.commands.options import (
    ARGUMENT,
    CLASS_NAMES,
    OF_MAPS,
    OF_MODEL,
    OF_RUN,
    SALIENCY,
    SCALAR,
    of_images,
)
from saliency_audit.commands.quick import QUICK, FirstLook

FIRST_LOOK = FirstLook(
    {"max_samples": 4},
    ("gradient", "input-x-gradient", "smoothgrad", "integrated-gradients", "gradcam"),
    {"saliency": METHODS},
)
OPTIONS = (
    ARGUMENT,
    QUICK,
    SALIENCY,
    SCALAR,
    *OF_MAPS,
    *of_images(16),
    *OF_MODEL,
    CLASS_NAMES,
    *OF_RUN,
)
