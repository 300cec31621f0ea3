"""What metrics need beside the model and the images, loaded from what was named."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliency_audit.catalogue.methods import METHODS
from saliency_audit.catalogue.metrics import METRICS
from saliency_audit.catalogue.needs import NEEDS, lacking, takers
from saliency_audit.commands.planting import Planting
from saliency_audit.commands.setup import Setup, fingerprint
from saliency_audit.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from saliency_audit.models import Classifier


@dataclass(frozen=True)
class Loaded:
    """What was loaded.

    Attributes:
        values: by need.
        settings: what of each decides the numbers of a run.
        models: those among them.
    """

    values: Mapping[str, Any]
    settings: Mapping[str, Any]
    models: list["Classifier"] = field(default_factory=list)


def loaded(named: Mapping[str, Any], setup: Setup, metrics: Iterable[str]) -> Loaded:
    """Load what is needed.

    Args:
        named: by need, what the user wrote; None for what was not given.
        setup: the model and the images.
        metrics: that are measured.

    Raises:
        InputError: something cannot be used.
    """
    from saliency_audit.models import Classifier

    metrics = list(metrics)
    needed = {name for metric in metrics for name in METRICS[metric].needs}
    # Of what is named, some is for saliency methods.
    looked_at = needed | {name for metric in metrics for name in METRICS[metric].takes}
    there = {name for name, need in NEEDS.items() if need.by_default}
    there |= {"annotations"} if setup.data.marks is not None else set()
    values = {
        name: need.function(named.get(name), setup)
        for name, need in NEEDS.items()
        if name in looked_at and (named.get(name) is not None or (name in needed & there))
    }
    models = {name: value for name, value in values.items() if isinstance(value, Classifier)}
    settings = {
        name: value.sha256
        if isinstance(value, Classifier)
        else value.fingerprint
        if isinstance(value, Planting)
        else [str(named[name]), fingerprint(Path(named[name]))]
        for name, value in values.items()
        # What comes with the data is in the fingerprint of that.
        if isinstance(value, Classifier | Planting) or named.get(name) is not None
    }
    of_metrics = {name for metric in METRICS.values() for name in (*metric.needs, *metric.takes)}
    said = {name: settings.get(name) for name in NEEDS if name in of_metrics}
    return Loaded(values, said, list(models.values()))


def refuse_lacking(metrics: Iterable[str], there: Mapping[str, Any]) -> None:
    """Refuse metrics without what they need.

    Args:
        metrics: names of metrics.
        there: by need, what is given or loaded; None for what is not.

    Raises:
        InputError: says what to give.
    """
    for name in metrics:
        for _, need in lacking(METRICS[name], there):
            raise InputError(
                f"--metric {name} {need.why}; give it with {need.option.flag}, such as "
                f"{need.option.flag} {need.example}"
            )


def refuse_idle_needs(given: Collection[str], chosen: Collection[str]) -> None:
    """Refuse what neither a metric nor a saliency method looks at.

    Args:
        given: names of needs.
        chosen: names of metrics and saliency methods that are asked for.

    Raises:
        InputError: says what it is for.
    """
    for name in given:
        names = takers(name)
        if not set(names) & set(chosen):
            flag = NEEDS[name].option.flag
            firsts = [
                f"--{kind} {first}"
                for kind, entries in (("metric", METRICS), ("saliency", METHODS))
                if (first := next((n for n in names if n in entries), ""))
            ]
            raise InputError(
                f"{flag} is for {', '.join(names)}; add {' or '.join(firsts)} or leave {flag}"
            )


def model(spec: str, setup: Setup) -> "Classifier":
    """A further model for the same images."""
    return setup.load(spec)


def annotations(place: str | Path | None, setup: Setup) -> "Callable[[Sequence[str]], Tensor]":
    """What people marked on the images: gives ``(n, h, w)`` for names, NaN where there is none.

    Where nothing is named it is what the data itself says of them.
    """
    from saliency_audit.data import own_annotations, read_annotations

    if place is None:
        return own_annotations(setup.data).read
    marked = read_annotations(Path(place), setup.data)
    for line in marked.notes:
        setup.tell(line)
    return marked.read
