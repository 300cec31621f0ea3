"""Whether the options of a policy mean something for a model, before anything is measured."""

from collections.abc import Sequence
from pathlib import Path

from saliency_audit.catalogue.tricks import TRICKS
from saliency_audit.commands.gate.policy import PolicyCheck
from saliency_audit.commands.gate.runs import located
from saliency_audit.commands.picture import load_picture
from saliency_audit.commands.reason import no_meaning
from saliency_audit.errors import InputError
from saliency_audit.metrics import METRICS
from saliency_audit.metrics.similarity import pixel_count
from saliency_audit.models import Classifier


def refuse_unfit(checks: Sequence[PolicyCheck], shape: tuple[int, ...], classes: int) -> None:
    """Refuse options that mean nothing on images of a shape.

    Args:
        checks: of a policy.
        shape: of an image, ``(c, h, w)``.
        classes: outputs of the model.

    Raises:
        InputError: with the line in the policy.
    """
    for check in checks:
        try:
            if check.kind == "metric":
                METRICS[check.metric].refuse(shape, classes, check.parameters)
            elif "k" in check.options:
                pixel_count(check.options["k"], shape[1] * shape[2])
        except InputError as error:
            raise located(error, [check]) from error
        for key in ("picture", "target_map") if check.kind != "metric" else ():
            if key in check.options:
                _refuse_no_picture(check, key)


def refuse_exclusive(checks: Sequence[PolicyCheck], model: Classifier) -> None:
    """Refuse checks that mean something only where classes exclude each other, if they do not.

    Args:
        checks: of a policy.
        model: what it is for.

    Raises:
        InputError: with the line in the policy.
    """
    for check in checks if not model.outputs.exclusive else ():
        at = f"{check.file}, line {check.line}"
        entry = METRICS[check.metric] if check.kind == "metric" else TRICKS.get(check.name)
        if entry is not None and entry.exclusive:
            raise InputError(f"{at}: {no_meaning(check.name, model.outputs.name)}; leave it")
        if check.scalar:
            try:
                model.scalar(check.scalar)
            except InputError as error:
                raise InputError(f"{at}: {error}") from error


def _refuse_no_picture(check: PolicyCheck, key: str) -> None:
    try:
        load_picture(Path(check.options[key]), (8, 8), option=key)
    except InputError as error:
        raise InputError(f"{check.file}, line {check.lines[key]}: {error}") from error
