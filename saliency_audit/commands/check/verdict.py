"""What a look at a model tells, as tables and a sentence."""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import pandas as pd

from saliency_audit.stats.summary import wilson_interval
from saliency_audit.stats.undefined import NO_LABEL, counted

ACCURACY_COLUMNS = ("preprocessing", "right", "n", "accuracy", "low", "high", "better")
METHOD_COLUMNS = ("saliency", "with_map", "n", "passes", "seconds", "why")
SAYS_COLUMNS = ("image", "label", "says", "confidence")
OWN = "as given"


def accuracies(results: pd.DataFrame) -> pd.DataFrame:
    """How many images are right under each preprocessing.

    Args:
        results: rows of the run.

    Returns:
        ``ACCURACY_COLUMNS``, the model's own preprocessing first; with Wilson's 95 % interval.
        ``better``: whether so many more images are right than under its own that chance hardly
        explains it: two standard errors of the images that only one of both gets right.
    """
    rows = results[(results["check"] == "accuracy") & (results["status"] == "ok")]
    right = rows.pivot_table("value", "image", "setting", dropna=False, observed=True)
    table = []
    for setting in dict.fromkeys(rows["setting"]):
        own, other = right[""], right[setting]
        gained, lost = int((other > own).sum()), int((other < own).sum())
        n = int(other.notna().sum())
        low, high = wilson_interval(int(other.sum()), n)
        name = setting.partition("=")[2] or OWN
        better = gained - lost > 2 * sqrt(gained + lost)
        table.append((name, int(other.sum()), n, float(other.mean()), low, high, better))
    return pd.DataFrame(table, columns=list(ACCURACY_COLUMNS))


def methods(results: pd.DataFrame, *, seconds_a_pass: float) -> pd.DataFrame:
    """Which methods have a map of the model, and what one takes.

    Args:
        results: rows of the run.
        seconds_a_pass: a forward and, where there is one, a backward pass of one image.

    Returns:
        ``METHOD_COLUMNS``; ``why`` there is no map, empty where there is one of every image.
    """
    table = []
    of_maps = results[results["saliency"] != ""]
    for saliency, own in of_maps.groupby("saliency", sort=False, observed=True):
        there = own[own["check"] == "map-defined"]
        values = there["value"].astype(float)
        reasons = [s for s in there["setting"] if str(s).startswith("reason=")]
        with_map, n = int(values.sum()), len(there)
        passes = own.loc[own["check"] == "map-passes", "value"].astype(float).max()
        why = str(reasons[0]).removeprefix("reason=") if reasons else ""
        if not why and with_map < n:
            faults = own[(own["check"] == "") & own["target"].notna()]
            found = [str(s).removeprefix("reason=") for s in faults["setting"]]
            found += [NO_LABEL] * int(values.isna().sum())
            why = counted(found, n - with_map, n)
        table.append((saliency, with_map, n, passes, passes * seconds_a_pass, why))
    return pd.DataFrame(table, columns=list(METHOD_COLUMNS))


def says(results: pd.DataFrame, names: Sequence[str] | None, *, most: int = 8) -> pd.DataFrame:
    """What the model says of the first images.

    Args:
        results: rows of the run.
        names: of the classes, where they are known.
        most: images.

    Returns:
        ``SAYS_COLUMNS``; label and class by name where there is one, confidence the probability. A
        line for each output above one half, where several may be; without a name where none is.
    """
    rows = results[results["check"] == "confidence"]
    rows = rows[rows["image"].isin(rows["image"].unique()[:most])]

    def named(index: Any) -> str:
        if pd.isna(index):
            return ""
        number = int(index)
        return f"{number} {names[number]}" if names and number < len(names) else str(number)

    return pd.DataFrame(
        {
            "image": rows["image"],
            "label": rows["label"].map(named),
            "says": rows["target"].map(named),
            "confidence": rows["value"].astype(float),
        },
        columns=list(SAYS_COLUMNS),
    )


def sentence(
    accuracy: pd.DataFrame, found: pd.DataFrame, *, model: str, facts: Mapping[str, Any]
) -> str:
    """The answer in a few words.

    Args:
        accuracy: of `accuracies`; may be empty.
        found: of `methods`.
        model: its name.
        facts: ``input``, ``classes``.
    """
    parts = [f"{model} takes {facts['input']} and has {facts['classes']} classes"]
    if len(accuracy) and accuracy.iloc[0]["n"]:
        own = accuracy.iloc[0]
        parts.append(f"it is right on {own['right']} of {own['n']} images")
    whole = int(((found["with_map"] == found["n"]) & (found["n"] > 0)).sum())
    parts.append(f"{whole} of {len(found)} methods have a map of every image")
    text = "; ".join(parts) + "."
    for line in accuracy[accuracy["better"]].to_dict("records"):
        text += (
            f" With {line['preprocessing']} it would be right on {line['right']}: are --mean and "
            "--std what it was trained with?"
        )
    return text
