"""What became of the samples that models made: in words, as a list of files, as a picture."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from saliency_audit.commands.class_names import called
from saliency_audit.commands.evaluate.sampling import FOLDER, METRIC, file_of
from saliency_audit.report.figures import PanelRow, Tile, draw_maps
from saliency_audit.report.page import OVER_A_PICTURE, shorten
from saliency_audit.report.tables import write_csv
from saliency_audit.setting import parts_of
from saliency_audit.types import Example

MANIFEST = f"{FOLDER}/manifest.csv"
COLUMNS = ("path", "label", "judged", "probability", "model", "sample", "start", "seed")
PICTURE = "samples"


def samples_sentence(summary: pd.DataFrame, judge: str) -> str:
    """How many samples the judge recognises, beside what they were made from and its accuracy.

    Args:
        summary: of the run.
        judge: its name.

    Returns:
        A sentence or two for each model; nothing where there are no samples.
    """
    own = summary[summary["check"].str.startswith(METRIC)]
    several = summary["model"].nunique() > 1
    parts = []
    for model, group in own.groupby("model", sort=False):
        found = group.drop_duplicates("check").set_index("check").to_dict("index")
        name = f"{model}, {METRIC}" if several else METRIC
        made = found.get(METRIC)
        if made is None or not made["n"]:
            parts.append(f"{name}: undefined, no sample could be judged.")
            continue
        start, by_itself = found[f"{METRIC}-start"], found[f"{METRIC}-own"]
        said = (
            f"{name}: {judge} gives {_share(made)} of {made['n']} samples the class they were made "
            f"for, and {start['mean']:.1%} of what they were made from (chance "
            f"{made['chance']:.1%}); the model itself {by_itself['mean']:.1%}."
        )
        real = found.get(f"{METRIC}-judge-accuracy")
        if real is not None and real["n"]:
            said += f" Of {real['n']} real images it is right on {_share(real)}."
        else:
            said += " No labelled images say how good that judge is."
        parts.append(said)
    return " ".join(parts)


def _share(line: Any) -> str:
    return f"{line['mean']:.1%} [{line['ci_low']:.1%}, {line['ci_high']:.1%}]"


def write_samples(
    folder: Path,
    results: pd.DataFrame,
    examples: Iterable[Example],
    *,
    judge: str,
    images: Sequence[str],
    denoises: bool,
    names: Sequence[str] | None,
    seed: int,
) -> list[Path]:
    """List the files of samples, and draw the first ones.

    Args:
        folder: the output folder.
        results: rows of the run; of a sample, ``target`` is wanted and ``label`` is judged.
        examples: with the roles "start" and "sample".
        judge: its name.
        images: of the run, in order.
        denoises: whether samples were made from those.
        names: of the classes; None where nobody knows.
        seed: of the run.

    Returns:
        ``samples.png`` and further pages; none without samples. Beside them
        ``samples/manifest.csv`` is written, with `COLUMNS`, one row per sample and model;
        ``label`` is the wanted class, so that it can be read as ``--data``.

    Raises:
        AuditError: a file cannot be written.
    """
    models = list(dict.fromkeys(results["model"]))
    start = images if denoises else None
    _write_manifest(folder, results, models, start, seed)
    return _draw(folder, examples, models, start, judge, names)


def _write_manifest(
    folder: Path,
    results: pd.DataFrame,
    models: Sequence[str],
    images: Sequence[str] | None,
    seed: int,
) -> None:
    made = results[(results["check"] == f"{METRIC}-confidence") & (results["status"] == "ok")]
    rows = []
    for sample, judged, wanted, model, value in made[
        ["image", "label", "target", "model", "value"]
    ].itertuples(index=False, name=None):
        number = int(str(sample).rpartition(" ")[2]) - 1
        rows.append(
            (
                file_of(models.index(model), number, int(wanted)),
                int(wanted),
                int(judged),
                value,
                model,
                number + 1,
                "noise" if images is None else images[number],
                seed,
            )
        )
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    write_csv(folder / MANIFEST, pd.DataFrame(rows, columns=list(COLUMNS)))


def _draw(
    folder: Path,
    examples: Iterable[Example],
    models: Sequence[str],
    images: Sequence[str] | None,
    judge: str,
    names: Sequence[str] | None,
) -> list[Path]:
    """The first samples of each class, or of each image, below what they were made from."""
    found: dict[tuple[str, int, int, int], tuple[Example, dict[str, str]]] = {}
    for example in examples:
        if example.role in ("start", "sample"):
            said = parts_of(example.setting)
            place, row, column = (int(said[key]) for key in ("model", "row", "column"))
            found[example.role, place, row, column] = (example, said)
    if not found:
        return []
    across = sorted({column for *_, column in found})
    heads = []
    for column in across:
        said = next(said for (*_, own), (_, said) in found.items() if own == column)
        heads.append(called(said["wanted"], names) if images is None else images[column])

    def line(role: str, place: int, row: int, label: str) -> PanelRow:
        return PanelRow(
            label,
            [_tile(found.get((role, place, row, column)), names) for column in across],
        )

    def own(row: int) -> str:
        return f"sample {row + 1}" if images is None else "denoised"

    samples = sorted({(place, row) for role, place, row, _ in found if role == "sample"})
    starts = line("start", samples[0][0], 0, "noise" if images is None else "with noise")
    climbed = "the class above it" if images is None else "its class"
    return draw_maps(
        [
            line("sample", place, row, models[place] if len(models) > 1 else own(row))
            for place, row in samples
        ],
        folder,
        PICTURE,
        title=f"What the model makes of {'noise' if images is None else 'noisy images'}",
        columns=[shorten(head, OVER_A_PICTURE) for head in heads],
        footnote=f"Each climbs the logit of {climbed}. Below: the class that {judge} gives, and "
        "its probability of the wanted one.",
        first=starts,
    )


def _tile(found: tuple[Example, dict[str, str]] | None, names: Sequence[str] | None) -> Tile | None:
    if found is None:
        return None
    example, said = found
    if example.role == "start":
        return Tile(example.pixels, "image")
    judged = called(said["judged"], names) if said["judged"] != "-1" else "nothing"
    return Tile(
        example.pixels, "image", f"{shorten(judged, OVER_A_PICTURE)}\n{said['probability']}"
    )
