"""Saliency methods: one topic a file, one entry in the catalogue."""

import saliency_audit.drawing  # noqa: F401  (before anyone else imports Matplotlib)
from saliency_audit.catalogue.methods import METHODS as METHODS
