"""What each command would take on the model, with its defaults and as a first look."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch

from saliency_audit.catalogue.methods import CONTROLS, METHODS, USUAL
from saliency_audit.catalogue.metrics import METRICS
from saliency_audit.catalogue.tricks import UNTRAINED
from saliency_audit.commands.attack.audit import ATTACKS_BY_DEFAULT, DRAWS, EPS
from saliency_audit.commands.attack.audit import METHODS_BY_DEFAULT as ATTACKED
from saliency_audit.commands.attack.batch import Run
from saliency_audit.commands.attack.costs import economy as attack_economy
from saliency_audit.commands.attack.costs import passes_of_image as of_attack
from saliency_audit.commands.attack.jobs import jobs
from saliency_audit.commands.attack.options import FIRST_LOOK as ATTACK_LOOK
from saliency_audit.commands.attack.options import OPTIONS as ATTACK_OPTIONS
from saliency_audit.commands.costs import Passes, of_batches, seconds_a_pass, seconds_of
from saliency_audit.commands.evaluate.audit import METRICS_BY_DEFAULT, SALIENCY_BY_DEFAULT
from saliency_audit.commands.evaluate.costs import Plan
from saliency_audit.commands.evaluate.costs import economy as evaluate_economy
from saliency_audit.commands.evaluate.costs import passes_of_image as of_evaluate
from saliency_audit.commands.evaluate.options import FIRST_LOOK as EVALUATE_LOOK
from saliency_audit.commands.evaluate.options import OPTIONS as EVALUATE_OPTIONS
from saliency_audit.commands.fool.audit import SCALARS_BY_DEFAULT
from saliency_audit.commands.fool.costs import economy as fool_economy
from saliency_audit.commands.fool.costs import passes_of_image as of_fool
from saliency_audit.commands.fool.options import FIRST_LOOK as FOOL_LOOK
from saliency_audit.commands.fool.options import OPTIONS as FOOL_OPTIONS
from saliency_audit.commands.known import first_images
from saliency_audit.commands.reason import refusing
from saliency_audit.commands.setup import Setup
from saliency_audit.errors import AuditError
from saliency_audit.models import weight_layers

COST_COLUMNS = ("command", "images", "passes", "seconds")
AT_ONCE = 32
"""Most images of one batch of rows, of every audit."""


def costs(setup: Setup, refused: Collection[str], *, options: Mapping[str, Any]) -> pd.DataFrame:
    """A row for each command and for its first look.

    Args:
        setup: model and images.
        refused: methods that have no map of the model; the others count.
        options: of methods.

    Returns:
        ``COST_COLUMNS``; a command whose passes cannot be timed here is left out. Not counted are
        the few passes that set up a run, tricks and objectives that train, and the report.
    """
    kept = [name for name in USUAL if name not in refused]
    rows, pace = [], cache(partial(seconds_a_pass, setup))
    for name, (look, declared, plan) in _COMMANDS.items():
        usual = {option.name: option.default for option in declared}
        for quick in (False, True):
            values = {**usual, **(look.values if quick else {})}
            own = {**options, **({"samples": values["samples"]} if values.get("samples") else {})}
            left_out = [each for each in METHODS if quick and each not in look.methods]
            images = int(values["max_samples"])
            with (
                suppress(AuditError, MemoryError, torch.OutOfMemoryError),
                refusing(),
                setup.model.audited(),
            ):
                total = plan(setup, kept, left_out, values, own) * images
                seconds = seconds_of(total, pace)
                rows.append((name + " --quick" * quick, images, total.count, seconds))
    return pd.DataFrame(rows, columns=list(COST_COLUMNS))


def _at_once(setup: Setup, values: Mapping[str, Any]) -> float:
    return of_batches(int(values["max_samples"]), min(AT_ONCE, setup.batch_size))


def _fool(
    setup: Setup,
    kept: Sequence[str],
    left_out: Sequence[str],
    values: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Passes:
    scalars = list(values["scalar"] or SCALARS_BY_DEFAULT)
    sides = setup.model.input_shape[1:]
    saved = fool_economy(
        None,
        values["scalar"],
        besides=left_out,
        first=scalars[0],
        options=options,
        sides=sides,
    )
    pairs = [
        (name, scalar)
        for name in kept
        if name not in saved.left_out
        for scalar in (scalars[:1] if name in (*saved.once, *CONTROLS) else scalars)
    ]
    at_once = _at_once(setup, values)
    return of_fool(pairs, len(UNTRAINED), options=options, sides=sides, at_once=at_once)


def _attack(
    setup: Setup,
    kept: Sequence[str],
    left_out: Sequence[str],
    values: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Passes:
    sides = setup.model.input_shape[1:]
    saved = attack_economy(
        None, None, by_default=ATTACKED, besides=left_out, options=options, sides=sides
    )
    attacked = [n for n in ATTACKED if n in kept and n not in saved.unattacked]
    measured = [n for n in kept if n != "random" and n not in saved.unmeasured]
    run = Run(
        setup.model,
        setup.model,
        measured=list(dict.fromkeys([*attacked, *measured])),
        scalars=["logit"],
        target="predicted",
        targets=cast(Any, None),
        folder=Path(),
        k=1,
        draws=DRAWS,
        seed=0,
        search={} if values["steps"] is None else {"steps": values["steps"]},
        options=options,
        methods=METHODS,
        followed=True,
        tell=lambda line: None,
        count=lambda work: None,
    )
    work = jobs(ATTACKS_BY_DEFAULT, attacked, ["logit"], eps=None, norm="linf", default_eps=EPS)
    at_once = _at_once(setup, values)
    return of_attack(run, work, 1, at_once=at_once, batch_size=setup.batch_size)


def _evaluate(
    setup: Setup,
    kept: Sequence[str],
    left_out: Sequence[str],
    values: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Passes:
    model = setup.model
    usual = [n for n in SALIENCY_BY_DEFAULT if n in kept and n not in left_out]
    skipped, _ = evaluate_economy(
        None,
        usual if left_out else None,
        by_default=usual,
        options=options,
        sides=model.input_shape[1:],
    )
    first, _, _ = first_images(setup.data, 1, 1, device=model.mean.device, workers=0)
    given = {
        name: {
            option.key: values[option.name]
            for option in METRICS[name].options
            if values[option.name] is not None
        }
        for name in METRICS_BY_DEFAULT
    }
    plan = Plan(
        given,
        [*usual, *CONTROLS],
        skipped,
        options,
        model.input_shape,
        len(weight_layers(model, first)),
        at_once=_at_once(setup, values),
    )
    return of_evaluate(plan) or Passes()


_COMMANDS = {
    "fool": (FOOL_LOOK, FOOL_OPTIONS, _fool),
    "attack": (ATTACK_LOOK, ATTACK_OPTIONS, _attack),
    "evaluate": (EVALUATE_LOOK, EVALUATE_OPTIONS, _evaluate),
}
