"""What a metric may need beside the model and the images; one entry a need.

From it come the option of the command line, the key of a policy, what is said where it is missing,
and where it is loaded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from saliency_audit.catalogue.entries import Code, Coded, Metric
from saliency_audit.catalogue.metrics import METRICS
from saliency_audit.options import Option

_BESIDE = "Further models, maps and annotations"


@dataclass(frozen=True)
class Need(Coded):
    """What a metric may need, or can do without.

    Attributes:
        code: ``(text, setup) -> value``, loads what the option names.
        option: that names it.
        why: what a metric does with it, after the metric's name.
        example: a value of the option.
        table: of a policy, where its key stands.
        by_default: whether there may be something where nothing is named: ``code`` is then called
            with None, if a metric needs it.
        per_image: whether the value gives what belongs to the images that it is called with, by
            name, rather than being the same for all.
    """

    code: Code
    option: Option
    why: str
    example: str
    table: Literal["data", "run"] = "run"
    by_default: bool = False
    per_image: bool = False


NEEDS: Mapping[str, Need] = {
    "other": Need(
        "commands.beside:model",
        Option("other", panel=_BESIDE, help="stability: the model to compare with."),
        "compares two models",
        "model.pt2",
    ),
    "judge": Need(
        "commands.beside:model",
        Option(
            "judge", panel=_BESIDE, help="discriminative: the model whose accuracy is measured."
        ),
        "asks a second model",
        "model.pt2",
    ),
    "annotations": Need(
        "commands.beside:annotations",
        Option(
            "annotations",
            "path",
            panel=_BESIDE,
            help="gaze-overlap, pointing-game: folder of maps, or a CSV of boxes "
            "(path,xmin,ymin,xmax,ymax).",
        ),
        "needs what people marked",
        "marks.csv",
        table="data",
        per_image=True,
    ),
    "train": Need(
        "commands.planting:training_images",
        Option(
            "train",
            panel=_BESIDE,
            shown=False,
            help="known-answer: images to train a copy of the model on, written like --data; "
            "without it, for 28 x 28 grey images, 6,000 bundled ones of Fashion-MNIST.",
        ),
        "trains a copy of the model",
        "photographs@train",
        table="data",
        by_default=True,
    ),
}
"""By the key of ``View.beside`` under which a metric finds it."""


def lacking(metric: Metric, there: Mapping[str, Any]) -> Iterator[tuple[str, Need]]:
    """What a metric needs that is not there, or is None; labels are not asked for."""
    for name in metric.needs:
        if name in NEEDS and there.get(name) is None:
            yield name, NEEDS[name]


def takers(need: str) -> list[str]:
    """Names of the metrics that look at it."""
    return [name for name, entry in METRICS.items() if need in (*entry.needs, *entry.takes)]
