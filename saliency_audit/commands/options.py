"""Options that several commands share, declared once."""

from dataclasses import replace
from typing import Any

from saliency_audit.options import Given, Option

MODEL, DATA, RUN, MAPS = "Model", "Images", "Run", "Saliency maps"

ARGUMENT = Option(
    "model",
    shown=False,
    metavar="[MODEL]",
    help="model.pt2, model.pt, model.safetensors, torchvision:NAME, timm:NAME; without it,"
    " the bundled model.",
)
OF_MODEL = (
    Option(
        "arch",
        panel=MODEL,
        help="Architecture of a state dict: torchvision:NAME, timm:NAME or package.module:factory.",
    ),
    Option("size", "whole", panel=MODEL, help="Side of the model's input, pixels."),
    Option("channels", "whole", panel=MODEL, help="Channels of the model's input."),
    Option(
        "mean",
        "colour",
        panel=MODEL,
        help="Subtracted from images in [0,1]: 0.5, or one per channel: 0.485,0.456,0.406.",
    ),
    Option("std", "colour", panel=MODEL, help="Divided by."),
    Option(
        "trust_pickle",
        "flag",
        default=False,
        panel=MODEL,
        help="Run the code in a pickled model. Only for files you made yourself.",
    ),
)
_DATA = Option(
    "data",
    panel=DATA,
    shown=False,
    help="Folder of class folders, manifest.csv (path,label), mnist:DIR, "
    "fashion-mnist:DIR, cifar10:DIR; without it, bundled images.",
)
OF_FILES = (
    Option(
        "classes",
        "path",
        panel=DATA,
        help="File with one class folder per line; the line number is the class index, from 0.",
    ),
    Option(
        "resize",
        "whole",
        panel=DATA,
        help="Shorter side before the centre crop; default 256/224 of the size.",
    ),
)
_MAX_SAMPLES = Option(
    "max_samples", "whole", default=24, panel=DATA, help="Most images, drawn with the seed."
)
SALIENCY = Option(
    "saliency",
    many=True,
    panel=MAPS,
    shown=False,
    help="Saliency method, repeatable; see `saliency-audit list saliency`. Default: all "
    "that the model's format allows.",
)
SCALARS = Option(
    "scalar",
    many=True,
    panel=MAPS,
    shown=False,
    help="Explained number, repeatable: logit, log-prob, prob, loss, margin, centred-logit.",
)
SCALAR = Option(
    "scalar",
    default="logit",
    panel=MAPS,
    help="Explained number: logit, log-prob, prob, loss, margin, centred-logit.",
)
OF_MAPS = (
    Option(
        "target",
        default="predicted",
        choices=("predicted", "label"),
        panel=MAPS,
        help="Explained class.",
    ),
    Option("layer", panel=MAPS, help="Layer of Grad-CAM; default: the last spatial one."),
    Option("samples", "whole", panel=MAPS, help="Noisy copies of the SmoothGrad family."),
    Option("noise_level", "number", panel=MAPS, help="Their noise over the image's range."),
    Option("ig_steps", "whole", panel=MAPS, help="Points of integrated gradients."),
)
OF_RUN = (
    Option("device", default="auto", panel=RUN, help="auto, cpu, cuda, cuda:N or mps."),
    Option(
        "precision",
        default="fp32",
        choices=("fp32", "bf16"),
        panel=RUN,
        help="Arithmetic of the network.",
    ),
    Option(
        "batch_size",
        "batch",
        default="auto",
        panel=RUN,
        help="Most images the model sees at once, noisy copies included.",
    ),
    Option("seed", "whole", default=0, panel=RUN, help="Of every random draw."),
    Option("workers", "whole", default=0, panel=RUN, help="Processes that read images."),
    Option(
        "output_dir",
        "path",
        panel=RUN,
        help="Where the report goes; default saliency-audit-report/COMMAND.",
    ),
    Option(
        "resume", "flag", default=False, panel=RUN, help="Go on where an interrupted run stopped."
    ),
    Option("quiet", "flag", default=False, panel=RUN, help="Print the answer only."),
    Option("debug", "flag", default=False, panel=RUN, help="Show where an error came from."),
)


def of_images(max_samples: int) -> tuple[Option, ...]:
    """The options of images, of which a command takes so many."""
    return (_DATA, *OF_FILES, replace(_MAX_SAMPLES, default=max_samples))


def of_methods(given: Given) -> dict[str, Any]:
    """The options of saliency methods that were given, by the names that the methods have."""
    values = {"samples": given.samples, "noise_level": given.noise_level, "steps": given.ig_steps}
    return {name: value for name, value in values.items() if value is not None}
