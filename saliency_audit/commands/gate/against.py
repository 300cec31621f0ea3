"""``saliency-audit fool --against POLICY``: which check of a gate refuses each forgery."""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliency_audit.commands.fool.command import COMMAND as PLAIN
from saliency_audit.commands.fool.command import RUN as FOOL
from saliency_audit.commands.fool.command import plan as plan_of_fool
from saliency_audit.commands.gate.command import COMMAND as GATE
from saliency_audit.commands.gate.command import policy_of, refuse_policy
from saliency_audit.commands.life import Job
from saliency_audit.commands.setup import Advance, Screen, Setup
from saliency_audit.options import Given, Option, place_of_report
from saliency_audit.processes import Processes, launched

if TYPE_CHECKING:
    import pandas as pd

DEFAULT = "default"
AGAINST = Option(
    "against",
    shown=False,
    common=True,
    help="Policy that each forged model is tried on afterwards, and the model itself; or default. "
    "A table says which check refuses which.",
)
MODELS = (".pt2", ".pt", ".safetensors")
GIVEN = "as given"
"""The model that was forged, in the table."""


class _Muted:
    """A screen that shows how far a run is and nothing else of it."""

    def __init__(self, screen: Screen, name: str) -> None:
        self._screen, self._name = screen, name

    def progress(self, what: str, *, quiet: bool) -> AbstractContextManager[Advance]:
        del quiet
        return self._screen.progress(f"{self._name}, {what}", quiet=False)

    def width(self) -> int:
        return self._screen.width()

    def tell(self, *given: Any) -> None:
        del given

    note = write = show = tell


def run(given: Given, screen: Screen) -> int:
    """Forge, and then try a policy on what was forged."""
    from saliency_audit.commands.gate.audit import check_baseline
    from saliency_audit.errors import InputError

    if given.against is not None and launched() > 1:
        raise InputError("--against runs in one process; start it without accelerate or torchrun")
    if given.against not in (None, DEFAULT) and not Path(given.against).is_file():
        raise InputError(
            option="against", value=given.against, fix="give a policy's file, or default"
        )
    if given.against is None:
        return FOOL(given, screen)
    rules = policy_of(_gate_given(given))
    check_baseline(rules.checks, None)

    def plan(given: Given, setup: Setup, processes: Processes) -> Job:
        refuse_policy(rules, setup)
        return plan_of_fool(given, setup, processes)

    code = FOOL(given, screen, plan=plan)
    folder = place_of_report(given, "fool")
    facts = json.loads((folder / "run.json").read_text("utf-8"))
    models: dict[str, str | None] = {GIVEN: given.model}
    models |= {name: str(folder / name) for name in sorted(facts["files"]) if name.endswith(MODELS)}
    found = {}
    for name, model in models.items():
        place = folder / "against" / Path(name).stem.replace(" ", "-")
        arch = given.arch if model == given.model or name.endswith(".safetensors") else None
        GATE.run(
            _gate_given(given, **_input(facts), model=model, arch=arch, output_dir=place),
            _Muted(screen, name),
        )
        found[name] = _checks(place)
    from saliency_audit.commands.gate.red_team import answer, write_red_team

    write_red_team(folder / "against", found)
    screen.show(*answer(found, width=screen.width()))
    return code


def _input(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The options that say how the model took its images, by ``run.json``."""
    channels, *size = facts["input_shape"]
    mean, std = tuple(facts["mean"]), tuple(facts["std"])
    return {"mean": mean, "std": std, "channels": channels, "size": tuple(size)}


def _gate_given(given: Given, **own: Any) -> Given:
    """The options of ``gate``: those that both commands have."""
    known = {option.name: option.default for option in GATE.options}
    shared = {name: getattr(given, name) for name in known if name in vars(given)}
    # A release needs more images than a forgery.
    shared["max_samples"] = known["max_samples"]
    return Given(
        said=given.said - {"max_samples"},
        **{
            **known,
            **shared,
            "policy": None if given.against == DEFAULT else Path(given.against),
            "resume": False,
            "quiet": True,
            **own,
        },
    )


def _checks(place: Path) -> "pd.DataFrame":
    import pandas as pd

    return pd.read_csv(place / "checks.csv")


COMMAND = replace(
    PLAIN,
    options=[
        part
        for option in PLAIN.options
        for part in ((option, AGAINST) if option.name == "fail_on" else (option,))
    ],
    run=run,
)
