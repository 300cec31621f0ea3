"""Load, wrap and look inside image classifiers."""

from saliency_audit.models.classifier import Classifier as Classifier
from saliency_audit.models.gradients import gradients_at as gradients_at
from saliency_audit.models.gradients import input_gradient as input_gradient
from saliency_audit.models.scalars import SCALARS as SCALARS
from saliency_audit.models.scalars import explained as explained
