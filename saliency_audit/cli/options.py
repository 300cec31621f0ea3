"""Options that several commands share, spelled and explained once."""

from enum import StrEnum
from math import isfinite
from pathlib import Path
from typing import Annotated

import typer

from saliency_audit.ranges import refuse_outside

MODEL, DATA, RUN, MAPS = "Model", "Images", "Run", "Saliency maps"


def fraction(text: str | float) -> float:
    """A number, or a fraction such as 8/255.

    >>> fraction("8/255")
    0.03137254901960784
    """
    if isinstance(text, float | int):
        return float(text)
    numerator, _, denominator = text.partition("/")
    try:
        number = float(numerator) / float(denominator or 1)
        if isfinite(number):
            return number
        raise ValueError
    except (ValueError, ZeroDivisionError):
        raise typer.BadParameter(
            f"'{text}' is not a number; write 0.03 or a fraction such as 8/255"
        ) from None


class Colour(tuple[float, ...]):
    """One number for all channels, or one for each."""


def colour(text: str) -> Colour:
    """Numbers separated by commas.

    >>> colour("0.485,0.456,0.406")
    (0.485, 0.456, 0.406)
    """
    try:
        return Colour(float(part) for part in text.strip("[]() ").split(","))
    except ValueError:
        raise typer.BadParameter(
            f"'{text}' is not a number or a list such as 0.485,0.456,0.406"
        ) from None


def batch_size(text: str) -> str:
    """``auto`` or a number of images."""
    if text == "auto":
        return text
    try:
        images = int(text)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is neither auto nor a number of images") from None
    refuse_outside("batch_size", images, said="--batch-size")
    return str(images)


class Target(StrEnum):
    """Which class is explained."""

    PREDICTED = "predicted"
    LABEL = "label"


class NormName(StrEnum):
    """Norms of budgets."""

    LINF = "linf"
    L2 = "l2"


class Precision(StrEnum):
    """Arithmetic of the network."""

    FP32 = "fp32"
    BF16 = "bf16"


Model = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL]",
        help="model.pt2, model.pt, model.safetensors, torchvision:NAME, timm:NAME; "
        "without it, the bundled model.",
        show_default=False,
    ),
]
Arch = Annotated[
    str | None,
    typer.Option(
        help="Architecture of a state dict: torchvision:NAME, timm:NAME or package.module:factory.",
        rich_help_panel=MODEL,
    ),
]
Size = Annotated[
    int | None, typer.Option(help="Side of the model's input, pixels.", rich_help_panel=MODEL)
]
Channels = Annotated[
    int | None, typer.Option(help="Channels of the model's input.", rich_help_panel=MODEL)
]
Mean = Annotated[
    Colour | None,
    typer.Option(
        parser=colour,
        metavar="NUMBERS",
        help="Subtracted from images in [0,1]: 0.5, or one per channel: 0.485,0.456,0.406.",
        rich_help_panel=MODEL,
    ),
]
Std = Annotated[
    Colour | None,
    typer.Option(parser=colour, metavar="NUMBERS", help="Divided by.", rich_help_panel=MODEL),
]
TrustPickle = Annotated[
    bool,
    typer.Option(
        "--trust-pickle",
        help="Run the code in a pickled model. Only for files you made yourself.",
        rich_help_panel=MODEL,
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        help="Folder of class folders, manifest.csv (path,label), mnist:DIR, fashion-mnist:DIR, "
        "cifar10:DIR; without it, bundled images.",
        rich_help_panel=DATA,
        show_default=False,
    ),
]
Classes = Annotated[
    Path | None,
    typer.Option(
        help="File with one class folder per line; the line number is the class index, from 0.",
        rich_help_panel=DATA,
    ),
]
Resize = Annotated[
    int | None,
    typer.Option(
        help="Shorter side before the centre crop; default 256/224 of the size.",
        rich_help_panel=DATA,
    ),
]
MaxSamples = Annotated[
    int, typer.Option(help="Most images, drawn with the seed.", rich_help_panel=DATA)
]
Saliency = Annotated[
    list[str] | None,
    typer.Option(
        help="Saliency method, repeatable; see `saliency-audit list saliency`. "
        "Default: all that the model's format allows.",
        rich_help_panel=MAPS,
        show_default=False,
    ),
]
ScalarNames = Annotated[
    list[str] | None,
    typer.Option(
        "--scalar",
        help="Explained number, repeatable: logit, log-prob, prob, loss, margin, centred-logit.",
        rich_help_panel=MAPS,
        show_default=False,
    ),
]
ScalarName = Annotated[
    str,
    typer.Option(
        "--scalar",
        help="Explained number: logit, log-prob, prob, loss, margin, centred-logit.",
        rich_help_panel=MAPS,
    ),
]
TargetClass = Annotated[Target, typer.Option(help="Explained class.", rich_help_panel=MAPS)]
Layer = Annotated[
    str | None,
    typer.Option(help="Layer of Grad-CAM; default: the last spatial one.", rich_help_panel=MAPS),
]
Samples = Annotated[
    int | None,
    typer.Option(help="Noisy copies of the SmoothGrad family.", rich_help_panel=MAPS),
]
NoiseLevel = Annotated[
    float | None,
    typer.Option(help="Their noise over the image's range.", rich_help_panel=MAPS),
]
IgSteps = Annotated[
    int | None,
    typer.Option("--ig-steps", help="Points of integrated gradients.", rich_help_panel=MAPS),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=RUN)]
PrecisionName = Annotated[
    Precision, typer.Option("--precision", help="Arithmetic of the network.", rich_help_panel=RUN)
]
BatchSize = Annotated[
    str,
    typer.Option(
        parser=batch_size,
        metavar="auto|N",
        help="Most images the model sees at once, noisy copies included.",
        rich_help_panel=RUN,
    ),
]
Seed = Annotated[int, typer.Option(help="Of every random draw.", rich_help_panel=RUN)]
Workers = Annotated[int, typer.Option(help="Processes that read images.", rich_help_panel=RUN)]
OutputDir = Annotated[
    Path | None,
    typer.Option(
        help="Where the report goes; default saliency-audit-report/COMMAND.", rich_help_panel=RUN
    ),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Go on where an interrupted run stopped.", rich_help_panel=RUN),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print the answer only.", rich_help_panel=RUN)]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show where an error came from.", rich_help_panel=RUN)
]
