"""Whether the options of a policy mean something for a model, before anything is measured."""

from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from saliency_audit.catalogue.tricks import TRICKS
from saliency_audit.commands.gate.policy import PolicyCheck
from saliency_audit.commands.gate.runs import located
from saliency_audit.commands.picture import load_picture
from saliency_audit.commands.reason import no_meaning
from saliency_audit.errors import InputError
from saliency_audit.methods import METHODS
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


def refuse_other_options(
    checks: Sequence[PolicyCheck], now: Mapping[str, Any], then: Mapping[str, Any]
) -> None:
    """Refuse to compare with a baseline whose maps were made in another way.

    Args:
        checks: of a policy.
        now: options of saliency methods that are given.
        then: those that were given for the baseline, as ``run.json`` has them.

    Raises:
        InputError: with the line in the policy.
    """
    for check in checks:
        if check.limit != "no_worse_than" or not check.saliency:
            continue
        method = METHODS[check.saliency]
        for option in method.options:
            usual = signature(method.function).parameters[option.key].default
            new, old = now.get(option.key, usual), then.get(option.key, usual)
            if new != old:
                raise InputError(
                    f"{check.file}, line {check.line}: the baseline's maps of {check.saliency} "
                    f"were made with {option.flag} {old}, and those of this run with {new}; give "
                    f"{option.flag} {old}, or another --baseline"
                )


def _refuse_no_picture(check: PolicyCheck, key: str) -> None:
    try:
        load_picture(Path(check.options[key]), (8, 8), option=key)
    except InputError as error:
        raise InputError(f"{check.file}, line {check.lines[key]}: {error}") from error
