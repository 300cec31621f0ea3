"""Measured quantities: one topic a file, one entry in the catalogue."""

from saliency_audit.catalogue.metrics import CHECKS as CHECKS
from saliency_audit.catalogue.metrics import METRICS as METRICS
from saliency_audit.metrics.view import Measured as Measured
from saliency_audit.metrics.view import View as View
