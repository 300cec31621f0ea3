"""Saliency methods."""

from saliency_audit.catalogue.entries import SaliencyMethod
from saliency_audit.options import Option
from saliency_audit.ranges import MANY, NOISE, SHARE, SIDE, Range

MAPS = "Saliency maps"
"""Heading of their options."""
SAMPLES = Option(
    "samples",
    "whole",
    range=Range(2, MANY.high),
    panel=MAPS,
    help="Noisy copies of the SmoothGrad family. Default: 50.",
)
NOISE_LEVEL = Option(
    "noise_level",
    "number",
    range=NOISE,
    panel=MAPS,
    help="Their noise over the image's range. Default: 0.1.",
)
IG_STEPS = Option(
    "ig_steps",
    "whole",
    parameter="steps",
    range=MANY,
    panel=MAPS,
    help="Points of integrated gradients. Default: 50.",
)
BASELINE = Option(
    "baseline_value",
    "number",
    parameter="baseline",
    range=SHARE,
    panel=MAPS,
    help="integrated-gradients, gradient-shap, deeplift, occlusion: pixel value that stands for "
    "nothing. Default: the mean colour.",
)
IMPLICIT_BIAS = Option(
    "implicit_bias",
    "flag",
    parameter="implicit",
    panel=MAPS,
    help="fullgrad: with what smooth activations add to the biases.",
)
LRP_RULE = Option(
    "lrp_rule",
    parameter="rule",
    choices=("z-plus", "epsilon"),
    panel=MAPS,
    help="lrp: rule of every layer. Default: z-plus.",
)
WINDOW = Option(
    "occlusion_window",
    "whole",
    parameter="window",
    range=SIDE,
    panel=MAPS,
    help="occlusion: side of what is covered, pixels. Default: an eighth of the image.",
)
STRIDE = Option(
    "occlusion_stride",
    "whole",
    parameter="stride",
    range=SIDE,
    panel=MAPS,
    help="occlusion: pixels from one window to the next. Default: half a window.",
)
NOISY = (SAMPLES, NOISE_LEVEL)

METHODS: dict[str, SaliencyMethod] = {
    "gradient": SaliencyMethod(
        "methods.gradient:gradient", "gradient of the scalar in the pixels", parity=-1
    ),
    "input-x-gradient": SaliencyMethod(
        "methods.input_x_gradient:input_x_gradient",
        "the network's own input times its gradient",
        parity=-1,
    ),
    "smoothgrad": SaliencyMethod(
        "methods.smoothgrad:smoothgrad",
        "mean gradient over noisy copies of the image",
        stochastic=True,
        parity=-1,
        options=NOISY,
    ),
    "smoothgrad-abs": SaliencyMethod(
        "methods.smoothgrad:smoothgrad_abs",
        "mean magnitude of the gradient over noisy copies",
        signed=False,
        stochastic=True,
        parity=1,
        options=NOISY,
    ),
    "smoothgrad-squared": SaliencyMethod(
        "methods.smoothgrad:smoothgrad_squared",
        "mean squared gradient over noisy copies",
        signed=False,
        stochastic=True,
        parity=1,
        options=NOISY,
    ),
    "vargrad": SaliencyMethod(
        "methods.smoothgrad:vargrad",
        "variance of the gradient over noisy copies",
        signed=False,
        stochastic=True,
        parity=1,
        options=NOISY,
    ),
    "integrated-gradients": SaliencyMethod(
        "methods.integrated_gradients:integrated_gradients",
        "mean gradient on the way from the mean colour, times the way",
        parity=-1,
        options=(IG_STEPS, BASELINE),
    ),
    "gradcam": SaliencyMethod(
        "methods.gradcam:gradcam",
        "channels of the last spatial layer, weighted by their gradient",
        signed=False,
        why_zero="methods.gradcam:why_zero",
    ),
    "fullgrad": SaliencyMethod(
        "methods.fullgrad:fullgrad",
        "input term and bias terms of all convolutional layers",
        signed=False,
        parity=1,
        options=(IMPLICIT_BIAS,),
    ),
    "deeplift": SaliencyMethod(
        "methods.deeplift:deeplift",
        "difference from the mean colour by the rescale rule",
        differentiable=False,
        parity=-1,
        options=(BASELINE,),
        passes=(2, 0),
    ),
    "lrp": SaliencyMethod(
        "methods.lrp:lrp",
        "relevance handed down layer by layer (z-plus rule)",
        differentiable=False,
        options=(LRP_RULE,),
    ),
    "guided-backprop": SaliencyMethod(
        "methods.guided_backprop:guided_backprop",
        "gradient kept only where positive at each ReLU",
        differentiable=False,
    ),
    "guided-gradcam": SaliencyMethod(
        "methods.guided_gradcam:guided_gradcam",
        "guided backpropagation times Grad-CAM",
        differentiable=False,
        why_zero="methods.gradcam:why_zero",
        passes=(2, 0),
    ),
    "occlusion": SaliencyMethod(
        "methods.occlusion:occlusion",
        "drop of the scalar when a window is covered",
        differentiable=False,
        parity=-1,
        options=(WINDOW, STRIDE, BASELINE),
    ),
    "gradient-shap": SaliencyMethod(
        "methods.gradient_shap:gradient_shap",
        "gradients at random points on the way from the mean colour",
        stochastic=True,
        parity=-1,
        options=(*NOISY, BASELINE),
    ),
    "random": SaliencyMethod(
        "methods.random:random",
        "uniform noise: the control that every map must beat",
        differentiable=False,
        signed=False,
        control=True,
        stochastic=True,
        passes=(0, 0),
    ),
    "sobel": SaliencyMethod(
        "methods.sobel:sobel",
        "edges of the image: the control that sees no model",
        differentiable=False,
        signed=False,
        control=True,
        passes=(0, 0),
    ),
}
"""By the name that is asked for."""

CONTROLS = tuple(name for name, method in METHODS.items() if method.control)
"""Those that see no model: what others are compared with."""
