"""Saliency methods: one function a file, one line here."""

from saliency_audit.methods.gradient import gradient
from saliency_audit.methods.smoothgrad import smoothgrad
from saliency_audit.types import SaliencyMethod

METHODS: dict[str, SaliencyMethod] = {
    "gradient": SaliencyMethod(gradient, "gradient of the scalar in the pixels"),
    "smoothgrad": SaliencyMethod(
        smoothgrad, "mean gradient over noisy copies of the image", stochastic=True
    ),
}
