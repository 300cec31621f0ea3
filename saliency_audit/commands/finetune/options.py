"""What a user can set of ``finetune``."""

from dataclasses import replace

from saliency_audit.catalogue.methods import MAPS
from saliency_audit.catalogue.metrics import METRICS
from saliency_audit.catalogue.objectives import OBJECTIVES
from saliency_audit.commands.evaluate.options import OPTIONS as OF_EVALUATE
from saliency_audit.commands.options import (
    ARGUMENT,
    CLASS_NAMES,
    DATA,
    OF_FILES,
    OF_MODEL,
    OF_RUN,
    SCALAR,
    options_of,
)
from saliency_audit.options import Option
from saliency_audit.ranges import BUDGET, COUNT, MANY, NOISE, POSITIVE, SHARE, Range

QUESTIONS = (
    "accuracy",
    "robust-accuracy",
    "deletion",
    "discriminative",
    "stability",
    "topk-intersection",
    "scalar-agreement",
    "gradient-norm-target",
    "gradient-norm-others",
    "sparsity-gini",
)
"""Checks that are compared before and after, in this order."""
NONE = "none"
TRAINED_ANEW = {name: metric for name, metric in METRICS.items() if metric.of == "training"}
"""Metrics that train networks anew, which a sweep asks for of each trained model."""
_SWEEP = "Sweep"
OF_SWEEP = (
    Option(
        "sweep",
        many=True,
        metavar="NAME=VALUES",
        panel=_SWEEP,
        common=True,
        help="Train once for each value of an option of the objective or the training, such as "
        "eps=0,0.5,1; repeatable, for all combinations.",
    ),
    Option(
        "sweep_seeds",
        "whole",
        range=Range(1, 1000),
        panel=_SWEEP,
        help="Trainings of each combination, with --seed and the seeds after it. Default: 1.",
    ),
    *(
        replace(option, panel=_SWEEP)
        for option in OF_EVALUATE
        if option.name in ("recipe", "retrain")
    ),
    *(replace(option, panel=_SWEEP) for option in options_of(TRAINED_ANEW)),
)
"""Of several trainings beside each other."""
OF_TEACHER = (
    Option(
        "teacher_samples",
        "whole",
        parameter="samples",
        range=MANY,
        panel="Teacher and annotations",
        help="interpretation: noisy copies of a map. Default: 50.",
    ),
    Option(
        "teacher_sigma",
        "fraction",
        parameter="sigma",
        range=NOISE,
        panel="Teacher and annotations",
        shown=False,
        help="interpretation: their noise. Default: 0.15.",
    ),
    Option(
        "threshold",
        "fraction",
        range=Range(-1e6, 1e6),
        panel="Teacher and annotations",
        shown=False,
        help="interpretation: keep what is so many deviations above the mean. Default: 1.",
    ),
    Option(
        "permute",
        "flag",
        default=False,
        panel="Teacher and annotations",
        help="interpretation: the control, maps shuffled.",
    ),
)
"""Of the maps that are trained towards."""
OF_RECIPE = (
    Option(
        "epochs",
        "whole",
        range=MANY,
        panel="Training",
        common=True,
        help="Backward passes over the training images. Default: 1.",
    ),
    Option(
        "max_steps",
        "whole",
        range=COUNT,
        panel="Training",
        common=True,
        help="End after so many steps.",
    ),
    Option(
        "train_batch_size",
        "whole",
        parameter="batch_size",
        range=MANY,
        panel="Training",
        help="Images of a step, over all processes. Default: 64.",
    ),
    Option(
        "accumulate",
        "whole",
        range=MANY,
        default=1,
        panel="Training",
        help="Parts of a step that go through the model one by one.",
    ),
    Option(
        "lr",
        "fraction",
        range=POSITIVE,
        panel="Training",
        shown=False,
        common=True,
        help="Learning rate. Default: 0.01.",
    ),
    Option(
        "optimizer",
        choices=("sgd", "adam", "adamw"),
        panel="Training",
        help="That takes the steps. Default: sgd.",
    ),
    Option(
        "momentum",
        "fraction",
        range=NOISE,
        panel="Training",
        shown=False,
        help="Of sgd. Default: 0.9.",
    ),
    Option(
        "weight_decay",
        "fraction",
        range=Range(0, 1e6),
        panel="Training",
        shown=False,
        help="Of the optimizer. Default: 0.",
    ),
    Option(
        "schedule",
        choices=("constant", "cosine", "step"),
        panel="Training",
        help="Of the learning rate; step is a tenth at 1/2 and 3/4. Default: cosine.",
    ),
    Option(
        "augment",
        choices=("none", "flip-crop"),
        panel="Training",
        help="flip-crop: mirrored, and moved by up to 4 pixels. Default: none.",
    ),
    Option(
        "freeze_bn",
        "switch",
        panel="Training",
        written="--freeze-bn/--train-bn",
        shown=False,
        help="Use the statistics of batch normalisation as they are, so that the loss and the "
        "regulariser are of one function. Default: unless --from-scratch.",
    ),
)
"""How the training goes."""
OF_ACTIVATION = (
    Option(
        "surrogate",
        choices=("auto", "none", "softplus"),
        panel="Training",
        help="softplus in place of ReLU, for good; auto does so for the score objectives, which "
        "mean nothing with ReLU. Default: auto.",
    ),
    Option(
        "beta",
        "fraction",
        range=POSITIVE,
        panel="Training",
        shown=False,
        help="Sharpness of softplus. Default: 10.",
    ),
)
"""What is trained in place of ReLU."""
OPTIONS = (
    ARGUMENT,
    Option(
        "objective",
        panel="Objective",
        shown=False,
        common=True,
        help="What to train for; see `saliency-audit list objectives`.",
    ),
    Option(
        "preset",
        panel="Objective",
        shown=False,
        help="Objective and recipe as in a paper; see `saliency-audit list objectives`.",
    ),
    *options_of(OBJECTIVES),
    Option(
        "teacher",
        panel="Teacher and annotations",
        help="interpretation: model whose maps are to be had. Default: the model before training.",
    ),
    *OF_TEACHER,
    Option(
        "annotations",
        "path",
        panel="Teacher and annotations",
        help="harmonise, adversarial --penalty weighted: what people marked on training "
        "images, a folder of maps or a CSV of boxes; synthetic: data has its own.",
    ),
    *OF_RECIPE,
    *OF_ACTIVATION,
    Option(
        "from_scratch",
        "flag",
        default=False,
        panel="Training",
        common=True,
        help="Start from random weights; with --arch and without MODEL, of that architecture.",
    ),
    Option(
        "checkpoint_every",
        "whole",
        range=COUNT,
        panel="Training",
        help="Steps between checkpoints and accuracies. Default: an epoch.",
    ),
    Option(
        "min_accuracy",
        "fraction",
        range=SHARE,
        default=0.0,
        panel="Training",
        help="Stop, with the last checkpoint, if the validation accuracy, 0 to 1, falls below.",
    ),
    Option(
        "data",
        panel=DATA,
        shown=False,
        common=True,
        help="Training images: folder of class folders, manifest.csv (path,label), "
        "mnist:DIR (its training set; @test its test set), ..., synthetic:hierarchy, "
        "toy:boundary-tilting; without it, 6,000 bundled ones of Fashion-MNIST.",
    ),
    Option(
        "val",
        panel=DATA,
        shown=False,
        common=True,
        help="Images to validate and audit on. Default: the test images that belong to --data, "
        "or a tenth of it that is not trained on.",
    ),
    Option(
        "max_train",
        "whole",
        range=COUNT,
        panel=DATA,
        help="Most training images, drawn with the seed.",
    ),
    Option(
        "max_val",
        "whole",
        range=COUNT,
        panel=DATA,
        help="Most validation images, drawn with the seed.",
    ),
    *OF_FILES,
    Option(
        "audit",
        many=True,
        choices=(*QUESTIONS, *TRAINED_ANEW, NONE),
        panel="Audit before and after",
        shown=False,
        help="What is measured before and after, repeatable; none trains only; what trains "
        "networks anew is for --sweep. Default: all the rest.",
    ),
    Option(
        "max_samples",
        "whole",
        range=COUNT,
        default=32,
        panel="Audit before and after",
        common=True,
        help="Most validation images whose maps are audited, drawn with the seed.",
    ),
    Option(
        "saliency",
        many=True,
        panel="Audit before and after",
        shown=False,
        common=True,
        help="Audited saliency method, repeatable. Default: gradient.",
    ),
    SCALAR,
    Option(
        "target",
        default="predicted",
        choices=("predicted", "label"),
        panel=MAPS,
        help="Explained class.",
    ),
    Option(
        "audit_eps",
        "fraction",
        range=BUDGET,
        panel="Audit before and after",
        shown=False,
        help="Budget of robust-accuracy and of the attack on maps. Default: 2/255, l2 0.5; of pgd "
        "what it trains within.",
    ),
    Option(
        "audit_norm",
        default="linf",
        choices=("linf", "l2"),
        panel="Audit before and after",
        help="Of that budget.",
    ),
    Option(
        "against",
        panel="Audit before and after",
        help="Model to compare with. Default: MODEL before training.",
    ),
    Option(
        "other",
        panel="Audit before and after",
        help="stability: a second training, of another seed; without it, the maps before.",
    ),
    *OF_SWEEP,
    *OF_MODEL,
    CLASS_NAMES,
    *OF_RUN,
)
