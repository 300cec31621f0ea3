"""Whether a policy can refuse anything: it is tried on models and maps that must not pass."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from saliency_audit.assets import FashionMnistCnn
from saliency_audit.commands.gate.audit import judge
from saliency_audit.commands.gate.outcome import PASSED
from saliency_audit.commands.gate.policy import Policy, PolicyCheck
from saliency_audit.commands.gate.run import summed
from saliency_audit.commands.gate.runs import measured, plan
from saliency_audit.commands.known import first_images
from saliency_audit.commands.picture import load_picture
from saliency_audit.commands.table import table
from saliency_audit.data import ImageData, open_data
from saliency_audit.errors import AuditError, InputError
from saliency_audit.metrics import CHECKS, METRICS
from saliency_audit.models import Classifier, load
from saliency_audit.processes import ALONE
from saliency_audit.tricks import TRICKS
from saliency_audit.types import Batch

IMAGES, CLASSES = 16, 10
"""Bundled ones that a policy is tried on."""
EPS = 16 / 255
"""Of an attack: more than a map of the bundled network stands, so that what else is asked for
decides."""


def refuse_toothless(policy: Policy) -> None:
    """Refuse a policy that a forged network, random weights and random maps pass.

    Each check is tried on its own, the cheap ones first, until one does not pass: most policies
    cost a pass over a few images of the bundled network. A check of what has no better end (such
    as a norm) is taken for one that can refuse, and so is one against a baseline.

    Raises:
        InputError: nothing of it can refuse a model.
    """
    checks = [check for check in policy.checks if check.level == "fail"]
    if not any(_bites(check) for check in sorted(checks, key=_cost)):
        raise InputError(
            f"{policy.checks[0].file} can refuse no model: a forged network, one with random "
            "weights and maps of random numbers pass every check; give a limit or an option that "
            "some model fails"
        )


def _cost(check: PolicyCheck) -> int:
    if check.kind == "metric":
        return 0 if METRICS[check.metric].of == "model" else 1
    return 2 if check.kind == "trick" else 3


def _bites(check: PolicyCheck) -> bool:
    if check.limit == "no_worse_than":
        return True
    if check.kind == "metric" and CHECKS[check.name].higher_is_better is None:
        return True
    data = open_data(None, input_shape=(1, 28, 28), outputs=CLASSES, max_samples=IMAGES)
    return any(_status(tried, model, data) != PASSED for tried, model in _subjects(check, data))


def _subjects(check: PolicyCheck, data: ImageData) -> Iterator[tuple[PolicyCheck, Classifier]]:
    """Checks of maps and models that must not pass."""
    bundled = load(None)
    blank = bundled.replaced(_random_weights())
    if check.kind == "trick":
        # Whatever the method: a map that every trick forges, unless its options are void.
        yield replace(check, saliency="gradient", scalar="logit"), bundled
    elif check.kind == "attack":
        options = {**check.options, "eps": EPS}
        yield replace(check, saliency="gradient", scalar="logit", options=options), bundled
    elif METRICS[check.metric].of == "model":
        yield check, blank
        yield check, _forged(bundled, data)
    else:
        if check.value != "random":
            yield replace(check, saliency="random", scalar=""), bundled
        yield check, blank


def _random_weights() -> FashionMnistCnn:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FashionMnistCnn().eval().requires_grad_(False)


def _forged(model: Classifier, data: ImageData) -> Classifier:
    """The model, its logits shifted alike so that their gradient shows a picture."""
    images, _, _ = first_images(data, IMAGES, IMAGES, device=model.mean.device, workers=0)
    with model.audited():
        targets = model(images).argmax(1)
        picture = load_picture(None, model.input_shape[1:])
        network = TRICKS["logit-shift"].function(model, picture, images, targets)
    return model.replaced(network.eval().requires_grad_(False))


def _status(check: PolicyCheck, model: Classifier, data: ImageData) -> str:
    """What becomes of a check; one that cannot be measured here is no pass."""
    batches: list[Batch] = []
    (run,) = plan([check])
    shared: dict[str, Any] = {"target": "predicted", "options": {}, "seed": 0, "workers": 0}
    beside = {"other": model.replaced(_random_weights())}
    try:
        for _, found in measured(
            run,
            model,
            data,
            begin=lambda job: (),
            beside=beside,
            processes=ALONE,
            batch_size=IMAGES,
            tell=_ignore,
            advance=_ignore,
            **shared,
        ):
            if isinstance(found, Batch):
                batches.append(found)
    except AuditError:
        return ""
    frame = table(batches)
    summary, apart = summed(run, frame, shape=model.input_shape, classes=CLASSES)
    return judge(check, frame, summary, apart, classes=CLASSES, images=len(data)).status


def _ignore(*given: object) -> None:
    del given
