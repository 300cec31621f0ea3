"""Saliency methods."""

from saliency_audit.catalogue.entries import SaliencyMethod
from saliency_audit.options import Option
from saliency_audit.ranges import MANY, NOISE, POSITIVE, SHARE, SIDE, WEIGHT, Range

MAPS = "Saliency maps"
"""Heading of their options."""
SAMPLES = Option(
    "samples",
    "whole",
    range=Range(2, MANY.high),
    panel=MAPS,
    help="Noisy copies of the SmoothGrad family, and of a step of moreau. Default: 50, of "
    "sparsified-smoothgrad 256, of moreau 32.",
)
NOISE_LEVEL = Option(
    "noise_level",
    "number",
    range=NOISE,
    panel=MAPS,
    help="Their noise, and that of relex, over the image's range. Default: 0.1.",
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
KEEP = Option(
    "sparsified_keep",
    "fraction",
    parameter="keep",
    range=Range(0, 1, above=True),
    panel=MAPS,
    help="sparsified, sparsified-smoothgrad: share of the values that stay. Default: 0.1.",
)
FLATTEN = Option(
    "sparsified_flatten",
    "fraction",
    parameter="flatten",
    range=SHARE,
    panel=MAPS,
    help="sparsified, sparsified-smoothgrad: share of the values that become 1. Default: 0.01.",
)
COPIES = Option(
    "relex_copies",
    "whole",
    parameter="copies",
    range=MANY,
    panel=MAPS,
    help="relex: noisy copies in each iteration. Default: 50.",
)
ITERATIONS = Option(
    "relex_iterations",
    "whole",
    parameter="iterations",
    range=MANY,
    panel=MAPS,
    help="relex: of its descent. Default: 50.",
)
LR = Option(
    "relex_lr",
    "number",
    parameter="lr",
    range=POSITIVE,
    panel=MAPS,
    help="relex: step of the descent, for 3x224x224 values. Default: 0.1.",
)
MOMENTUM = Option(
    "relex_momentum",
    "number",
    parameter="momentum",
    range=Range(0, 1, below=True),
    panel=MAPS,
    help="relex: of the descent. Default: 0.99.",
)
SPARSITY = Option(
    "relex_sparsity",
    "number",
    parameter="sparsity",
    range=WEIGHT,
    panel=MAPS,
    help="relex: weight of the mask's L1 norm. Default: 0.0001.",
)
BACKGROUND = Option(
    "relex_background",
    "number",
    parameter="background",
    range=WEIGHT,
    panel=MAPS,
    help="relex: weight of hiding the class with what the mask keeps. Default: 1.",
)
CONSISTENCY = Option(
    "relex_consistency",
    "number",
    parameter="consistency",
    range=WEIGHT,
    panel=MAPS,
    help="relex: weight of the gap between the copies' gradients and the image's. Default: 0.",
)
MOREAU_LAMBDA = Option(
    "moreau_lambda",
    "number",
    parameter="lam",
    range=POSITIVE,
    panel=MAPS,
    help="moreau: how far around the image it looks. Default: 1.",
)
MOREAU_STEPS = Option(
    "moreau_steps",
    "whole",
    parameter="proximal_steps",
    range=MANY,
    panel=MAPS,
    help="moreau: of its descent. Default: 300.",
)
MOREAU_STEP_SIZE = Option(
    "moreau_step_size",
    "number",
    parameter="step_size",
    range=POSITIVE,
    panel=MAPS,
    help="moreau: of its descent. Default: 0.1.",
)
MOREAU_ETA = Option(
    "moreau_eta",
    "number",
    parameter="eta",
    range=WEIGHT,
    panel=MAPS,
    help="sparse-moreau, group-moreau: weight of the penalty. Default: 0.005 and 0.05.",
)
MOREAU_SIDE = Option(
    "moreau_side",
    "whole",
    parameter="side",
    range=SIDE,
    panel=MAPS,
    help="group-moreau: side of its squares, pixels. Default: a sixteenth of the image.",
)
VIEW = Option(
    "view",
    choices=("percentile99", "minmax", "symmetric", "none"),
    panel=MAPS,
    always=True,
    help="How pictures scale maps: from the least magnitude to the 99th percentile or the largest, "
    "with signs, or a mask as it is. Default: symmetric, magnitudes where a method has no signs.",
)
MOREAU = (*NOISY, MOREAU_LAMBDA, MOREAU_STEPS, MOREAU_STEP_SIZE)

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
    "rt-sal": SaliencyMethod(
        "methods.rt_sal:rt_sal",
        "mask that a network trained for it (--train) reads off feature maps",
        signed=False,
        parity=1,
        needs=("masker",),
        takes=("train",),
    ),
    "sparsified": SaliencyMethod(
        "methods.sparsified:sparsified",
        "the largest tenth of the gradient's magnitudes",
        signed=False,
        parity=1,
        options=(KEEP, FLATTEN),
    ),
    "sparsified-smoothgrad": SaliencyMethod(
        "methods.sparsified:sparsified_smoothgrad",
        "mean of the sparsified gradients of noisy copies",
        signed=False,
        stochastic=True,
        parity=1,
        options=(*NOISY, KEEP, FLATTEN),
    ),
    "relex": SaliencyMethod(
        "methods.relex:relex",
        "mask that keeps the class on noisy copies and hides it off them",
        differentiable=False,
        signed=False,
        stochastic=True,
        parity=1,
        options=(
            *(COPIES, NOISE_LEVEL, ITERATIONS, LR, MOMENTUM),
            *(SPARSITY, BACKGROUND, CONSISTENCY),
        ),
        points="methods.relex:points",
    ),
    "moreau": SaliencyMethod(
        "methods.moreau:moreau",
        "gradient of the smoothed scalar's lower envelope",
        differentiable=False,
        stochastic=True,
        options=MOREAU,
        points="methods.moreau:points",
    ),
    "sparse-moreau": SaliencyMethod(
        "methods.moreau:sparse_moreau",
        "the same, with single values pulled to zero",
        differentiable=False,
        stochastic=True,
        why_zero="methods.moreau:why_zero",
        options=(*MOREAU, MOREAU_ETA),
        points="methods.moreau:points",
    ),
    "group-moreau": SaliencyMethod(
        "methods.moreau:group_moreau",
        "the same, with whole squares pulled to zero",
        differentiable=False,
        stochastic=True,
        why_zero="methods.moreau:why_zero",
        options=(*MOREAU, MOREAU_ETA, MOREAU_SIDE),
        points="methods.moreau:points",
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
USUAL = tuple(name for name, method in METHODS.items() if not method.needs)
"""Those that nothing must be trained for: "all" where a command says so."""
