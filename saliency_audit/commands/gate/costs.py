"""What ``gate`` takes, where all that its policy asks for has passes that are known beforehand."""

from collections.abc import Mapping, Sequence
from typing import Any

from saliency_audit.catalogue.methods import CONTROLS
from saliency_audit.commands.costs import Passes, of_batches
from saliency_audit.commands.evaluate.audit import IMAGES_AT_ONCE
from saliency_audit.commands.evaluate.costs import REPEATED, Plan
from saliency_audit.commands.evaluate.costs import passes_of_image as of_evaluate
from saliency_audit.commands.gate.runs import GateRun
from saliency_audit.commands.known import first_images
from saliency_audit.commands.setup import Setup
from saliency_audit.models import weight_layers


def passes_of_image(
    runs: Sequence[GateRun], setup: Setup, *, images: int, options: Mapping[str, Any]
) -> Passes | None:
    """What measuring one image takes; None where that is not known, as of tricks and attacks.

    Args:
        runs: that measure the checks.
        setup: model and images.
        images: of one process.
        options: of methods.
    """
    model, total = setup.model, Passes()
    at_once = of_batches(images, min(IMAGES_AT_ONCE, setup.batch_size))
    for run in runs:
        if run.kind != "metric":
            return None
        metrics = run.arguments["metrics"]
        layers = 0
        if REPEATED in metrics:
            first, _, _ = first_images(setup.data, 1, 1, device=model.mean.device, workers=0)
            with model.audited():
                layers = len(weight_layers(model, first))
        methods = [*(run.arguments["saliency"] or ()), *CONTROLS]
        each = of_evaluate(Plan(metrics, methods, (), options, model.input_shape, layers, at_once))
        if each is None:
            return None
        total += each
    return total
