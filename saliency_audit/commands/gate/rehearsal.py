"""What is wrong with the options of a policy, found before the first of its checks is measured."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch

from saliency_audit.commands.gate.policy import PolicyCheck
from saliency_audit.commands.gate.runs import AUDITS, GateRun, located
from saliency_audit.data import ImageData
from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.metrics import METRICS, View
from saliency_audit.models import Classifier


class _Reached(Exception):
    """The options were accepted: what comes next costs time."""


def rehearse(
    runs: Sequence[GateRun],
    model: Classifier,
    data: ImageData,
    *,
    classes: int,
    beside: Mapping[str, Any],
    batch_size: int,
    **shared: Any,
) -> None:
    """Try the options of every check up to the point where measuring begins.

    Args:
        runs: of `plan`.
        model: the classifier; sees one image made of random numbers for some metrics.
        data: the images.
        classes: outputs of the model.
        beside: what metrics need beside the images: other, judge, annotations.
        batch_size: most images the model sees at once.
        shared: target, options and seed of every audit.

    Raises:
        InputError: an option that means nothing, with its line in the policy.
    """
    with model.audited():
        for check in (check for run in runs if run.kind == "metric" for check in run.checks):
            _try_metric(check, model, classes, beside)
    for run in runs:
        # By default the options are right; those of metrics were tried above.
        if run.kind != "metric" and any(check.options for check in run.checks):
            _try_audit(run, model, data, batch_size=batch_size, **shared)


def _try_metric(
    check: PolicyCheck, model: Classifier, classes: int, beside: Mapping[str, Any]
) -> None:
    device = model.mean.device
    noise = torch.Generator().manual_seed(0)
    image = torch.rand(1, *model.input_shape, generator=noise).to(device)
    metric = METRICS[check.metric]
    view = View(
        # Metrics of methods look at the layers first, then explain; the others ask the model.
        model=model if metric.of == "method" else _Asked(model),  # type: ignore[arg-type]
        images=image,
        names=["rehearsal"],
        labels=torch.zeros(1, dtype=torch.long, device=device),
        targets=torch.zeros(1, dtype=torch.long, device=device),
        logits=torch.zeros(1, classes, device=device),
        method=check.saliency,
        saliency=image,
        explain=_reached,
        batch_size=1,
        seed=0,
        dataset_mean=image.mean((0, 2, 3)),
        other=beside.get("other"),
        annotations=image.mean(1) if "annotations" in beside else None,
        attack=_reached,
    )
    try:
        metric.function(view, **check.options)
    except UnsupportedError:
        return
    except InputError as error:
        raise located(error, [check]) from error
    except Exception:  # whatever fails on this image is told when it fails on the user's
        return


def _try_audit(run: GateRun, model: Classifier, data: ImageData, **shared: Any) -> None:
    try:
        next(AUDITS[run.kind](model, data, begin=_reached, **run.arguments, **shared))
    except (_Reached, UnsupportedError):
        return
    except InputError as error:
        raise located(error, run.checks) from error


def _reached(*args: Any, **kwargs: Any) -> NoReturn:
    del args, kwargs
    raise _Reached


class _Asked:
    """A model until it is asked for its outputs."""

    def __init__(self, model: Classifier) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    __call__ = _reached
