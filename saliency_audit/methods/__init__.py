"""Saliency methods: one topic a file, one line here."""

import saliency_audit.drawing  # noqa: F401  (before anyone else imports Matplotlib)
from saliency_audit.methods.deeplift import deeplift
from saliency_audit.methods.fullgrad import fullgrad
from saliency_audit.methods.gradcam import gradcam
from saliency_audit.methods.gradient import gradient
from saliency_audit.methods.gradient_shap import gradient_shap
from saliency_audit.methods.guided_backprop import guided_backprop
from saliency_audit.methods.guided_gradcam import guided_gradcam
from saliency_audit.methods.input_x_gradient import input_x_gradient
from saliency_audit.methods.integrated_gradients import integrated_gradients
from saliency_audit.methods.lrp import lrp
from saliency_audit.methods.occlusion import occlusion
from saliency_audit.methods.random import random
from saliency_audit.methods.smoothgrad import (
    smoothgrad,
    smoothgrad_abs,
    smoothgrad_squared,
    vargrad,
)
from saliency_audit.methods.sobel import sobel
from saliency_audit.types import SaliencyMethod

METHODS: dict[str, SaliencyMethod] = {
    "gradient": SaliencyMethod(gradient, "gradient of the scalar in the pixels", parity=-1),
    "input-x-gradient": SaliencyMethod(
        input_x_gradient, "the network's own input times its gradient", parity=-1
    ),
    "smoothgrad": SaliencyMethod(
        smoothgrad, "mean gradient over noisy copies of the image", stochastic=True, parity=-1
    ),
    "smoothgrad-abs": SaliencyMethod(
        smoothgrad_abs,
        "mean magnitude of the gradient over noisy copies",
        signed=False,
        stochastic=True,
        parity=1,
    ),
    "smoothgrad-squared": SaliencyMethod(
        smoothgrad_squared,
        "mean squared gradient over noisy copies",
        signed=False,
        stochastic=True,
        parity=1,
    ),
    "vargrad": SaliencyMethod(
        vargrad,
        "variance of the gradient over noisy copies",
        signed=False,
        stochastic=True,
        parity=1,
    ),
    "integrated-gradients": SaliencyMethod(
        integrated_gradients,
        "mean gradient on the way from the mean colour, times the way",
        parity=-1,
    ),
    "gradcam": SaliencyMethod(
        gradcam, "channels of the last spatial layer, weighted by their gradient", signed=False
    ),
    "fullgrad": SaliencyMethod(
        fullgrad, "input term and bias terms of all convolutional layers", signed=False, parity=1
    ),
    "deeplift": SaliencyMethod(
        deeplift,
        "difference from the mean colour by the rescale rule",
        differentiable=False,
        parity=-1,
    ),
    "lrp": SaliencyMethod(
        lrp, "relevance handed down layer by layer (z-plus rule)", differentiable=False
    ),
    "guided-backprop": SaliencyMethod(
        guided_backprop, "gradient kept only where positive at each ReLU", differentiable=False
    ),
    "guided-gradcam": SaliencyMethod(
        guided_gradcam, "guided backpropagation times Grad-CAM", differentiable=False
    ),
    "occlusion": SaliencyMethod(
        occlusion, "drop of the scalar when a window is covered", differentiable=False, parity=-1
    ),
    "gradient-shap": SaliencyMethod(
        gradient_shap,
        "gradients at random points on the way from the mean colour",
        stochastic=True,
        parity=-1,
    ),
    "random": SaliencyMethod(
        random,
        "uniform noise: the control that every map must beat",
        differentiable=False,
        signed=False,
        control=True,
        stochastic=True,
    ),
    "sobel": SaliencyMethod(
        sobel,
        "edges of the image: the control that sees no model",
        differentiable=False,
        signed=False,
        control=True,
    ),
}
