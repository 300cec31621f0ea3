"""``images/manifest.csv``: what ``attack`` made, as data that every command can read again."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pandas as pd

from saliency_audit.report.tables import write_csv
from saliency_audit.setting import parts_of

COLUMNS = ("path", "label", "image", "attack", "goal", "saliency", "scalar", "eps", "seed")
_NO_IMAGES = {"random", "random-worst", "worst-case"}


def write_image_manifest(
    folder: Path,
    results: pd.DataFrame,
    *,
    file_of: Callable[[str, str, str], str],
    goals: Mapping[str, str],
    seed: int,
) -> Path:
    """List the attacked images with their labels and what they were made against.

    Args:
        folder: the output folder.
        results: rows of ``results.csv``; an image was made where its l2-distance was measured.
        file_of: ``(image, setting, scalar)`` to the file, relative to ``images/``.
        goals: what each attack made small, by its name.
        seed: of the run.

    Returns:
        ``images/manifest.csv``: ``COLUMNS``, one row per image, in the order of the results.

    Raises:
        AuditError: the file cannot be written.
    """
    measured = results[(results["check"] == "l2-distance") & (results["status"] == "ok")]
    rows = []
    for image, label, scalar, setting in measured[
        ["image", "label", "scalar", "setting"]
    ].itertuples(index=False, name=None):
        known = parts_of(setting)
        attack = known.get("attack", "")
        if not attack or attack in _NO_IMAGES or "space" in known:
            continue
        rows.append(
            {
                "path": file_of(image, setting, scalar),
                "label": "" if pd.isna(label) else int(label),
                "image": image,
                "attack": attack,
                "goal": goals.get(attack, ""),
                "saliency": known.get("attacked", ""),
                "scalar": scalar,
                "eps": known.get("eps", ""),
                "seed": seed,
            }
        )
    path = folder / "images" / "manifest.csv"
    with suppress(OSError):  # writing says what is wrong
        path.parent.mkdir(parents=True, exist_ok=True)
    return write_csv(path, pd.DataFrame(rows, columns=list(COLUMNS)))
