"""What a user can set of ``check``."""

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

OPTIONS = (
    ARGUMENT,
    SALIENCY,
    SCALAR,
    *OF_MAPS,
    *of_images(16),
    *OF_MODEL,
    CLASS_NAMES,
    *OF_RUN,
)
