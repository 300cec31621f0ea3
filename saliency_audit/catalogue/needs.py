"""What a metric or a saliency method may need beside the model and the images; one entry a need.

From it come the option of the command line, the key of a policy, what is said where it is missing,
and where it is loaded.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from saliency_audit.catalogue.entries import Code, Coded, Metric, SaliencyMethod
from saliency_audit.catalogue.manifold import (
    COMPONENTS,
    MANIFOLD,
    MANIFOLD_EPOCHS,
    MANIFOLD_PRESET,
)
from saliency_audit.catalogue.masking import DECODER_STEPS, MASKER, MASKER_PRESET, SELECTOR_STEPS
from saliency_audit.catalogue.methods import METHODS
from saliency_audit.catalogue.metrics import METRICS
from saliency_audit.options import Option

_BESIDE = "Further models, maps and annotations"


@dataclass(frozen=True)
class Need(Coded):
    """What a metric or a saliency method may need, or can do without.

    Attributes:
        code: ``(text, setup) -> value``, loads what the option names.
        option: that names it.
        why: what is done with it, after the name of the metric or method.
        example: a value of the option.
        table: of a policy, where its key stands.
        by_default: whether there may be something where nothing is named: ``code`` is then called
            with None, if a metric needs it; of a method it is trained.
        comes_with: kinds of ``--data`` that have it themselves.
        options: how it is trained where it is not given.
        per_image: whether the value gives what belongs to the images that it is called with, by
            name, rather than being the same for all.
    """

    code: Code
    option: Option
    why: str
    example: str
    table: Literal["data", "run"] = "run"
    by_default: bool = False
    comes_with: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    per_image: bool = False


NEEDS: Mapping[str, Need] = {
    "other": Need(
        "commands.beside:model",
        Option("other", panel=_BESIDE, help="stability: the model to compare with."),
        "compares two models",
        "model.pt2 (retrained-stability trains two)",
    ),
    "judge": Need(
        "commands.beside:model",
        Option(
            "judge",
            metavar="MODEL|anew",
            panel=_BESIDE,
            help="discriminative, gan-test: the model that is asked; anew trains the model's own "
            "architecture from other weights on --train.",
        ),
        "asks a second model",
        "model.pt2 or --judge anew",
    ),
    "annotations": Need(
        "commands.beside:annotations",
        Option(
            "annotations",
            "path",
            panel=_BESIDE,
            help="gaze-overlap, pointing-game: folder of maps, or a CSV of boxes "
            "(path,xmin,ymin,xmax,ymax); synthetic: data has its own.",
        ),
        "needs what people marked",
        "marks.csv",
        table="data",
        comes_with=("synthetic",),
        per_image=True,
    ),
    "train": Need(
        "commands.planting:training_images",
        Option(
            "train",
            panel=_BESIDE,
            shown=False,
            help="known-answer, rt-sal, manifold-distance, --judge anew: images to train a copy of "
            "the model, a masking network, a VAE-GAN or a judge on, written like --data; without "
            "it, for 28 x 28 grey images, 6,000 bundled ones of Fashion-MNIST.",
        ),
        "trains a copy of the model",
        "photographs@train",
        table="data",
        by_default=True,
    ),
    "manifold": Need(
        "commands.manifold:projecting",
        MANIFOLD,
        "measures distances to a manifold of images",
        "manifold.safetensors",
        by_default=True,
        options=(MANIFOLD_PRESET, MANIFOLD_EPOCHS, COMPONENTS),
    ),
    "masker": Need(
        "commands.masking:masker_of_file",
        MASKER,
        "reads a mask off a trained network",
        "masker.safetensors",
        by_default=True,
        options=(MASKER_PRESET, SELECTOR_STEPS, DECODER_STEPS),
    ),
}
"""By the key of ``View.beside`` under which a metric finds it, or the attribute of the model under
which a method does."""


def lacking(metric: Metric, there: Mapping[str, Any]) -> Iterator[tuple[str, Need]]:
    """What a metric needs that is not there, or is None; labels are not asked for.

    Args:
        metric: that needs it.
        there: by need, what is there; what ``data`` names may bring more.
    """
    kind = str(there.get("data")).partition(":")[0]
    for name in metric.needs:
        if name in NEEDS and there.get(name) is None and kind not in NEEDS[name].comes_with:
            yield name, NEEDS[name]


def takers(need: str) -> list[str]:
    """Names of the metrics and saliency methods that look at it."""
    entries: Mapping[str, Metric | SaliencyMethod] = {**METRICS, **METHODS}
    return [name for name, entry in entries.items() if need in (*entry.needs, *entry.takes)]


def of_methods(names: Iterable[str]) -> list[str]:
    """What of it must be trained or given for saliency methods, each once.

    >>> of_methods(["gradient", "rt-sal"])
    ['masker']
    """
    return list(dict.fromkeys(need for name in names for need in METHODS[name].needs))


def takes(names: Iterable[str]) -> list[str]:
    """What of it saliency methods can do without, each once."""
    return list(dict.fromkeys(need for name in names for need in METHODS[name].takes))
