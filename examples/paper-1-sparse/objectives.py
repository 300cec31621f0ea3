"""Train the bundled model for every objective with one budget and three seeds; one table of all.

python objectives.py (--quick | --full) [--output DIR]

Each training is the command that anyone would type; see `commands`. Runs that are finished are not
made again.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from saliency_audit.assets import bundled_images
from saliency_audit.stats.claims import claims_markdown, claims_table, over_images, over_trainings

SEEDS = (0, 1, 2)
TWO = "stability of two seeds"
CLAIMS = {  # check, what is above, what is below
    **{
        f"P1: {name} {text} than cross-entropy": (check, name, "cross-entropy")
        for text, check in (
            ("has sparser maps (Gini)", "sparsity-gini"),
            ("has stabler maps (of two seeds)", TWO),
            ("keeps more of the most salient pixels under attack", "topk-intersection"),
        )
        for name in ("adversarial (l1)", "adversarial (l2)")
    },
    "P4: interpretation keeps more of them than cross-entropy": (
        "topk-intersection", "interpretation (robust teacher)", "cross-entropy",
    ),
    "P4: Jacobian keeps more of them than cross-entropy": (
        "topk-intersection", "jacobian", "cross-entropy",
    ),
    "P0: score matching's discriminative above cross-entropy's (softplus)": (
        "discriminative", "score-matching", "cross-entropy (softplus)",
    ),
    "P0: gradient norm's discriminative above cross-entropy's (softplus)": (
        "discriminative", "gradient-norm", "cross-entropy (softplus)",
    ),
    "P0: discriminative of cross-entropy (softplus) above anti score matching's": (
        "discriminative", "cross-entropy (softplus)", "anti-score-matching",
    ),
}  # fmt: skip
COLUMNS = {
    "accuracy": "accuracy",
    "robust-accuracy": "robust accuracy",
    "gradient-norm-target": "norm of the class's gradient",
    "gradient-norm-others": "norm of the others'",
    "deletion": "deletion",
    "discriminative": "discriminative",
    "sparsity-gini": "Gini",
    "stability": "as the model before",
    TWO: "as of another seed",
    "topk-intersection": "top-k kept under attack",
}
TABLE_COLUMNS = ["objective", "check", "mean", "half_width", "trainings"]
OBJECTIVES: dict[str, list[str]] = {
    "cross-entropy": [],
    "cross-entropy (softplus)": ["--surrogate", "softplus"],
    "noise": [],
    "score-matching": [],
    "score-matching (paper)": ["--weight", "1e-3", "--mu", "1e-4"],
    "anti-score-matching": [],
    "gradient-norm": [],
    "jacobian": [],
    "adversarial (l1)": ["--penalty", "l1", "--eps", "8/255"],
    "adversarial (l2)": ["--penalty", "l2"],
    "adversarial (free)": ["--penalty", "l1", "--eps", "8/255", "--replay", "4"],
    "pgd": [],
    "interpretation (robust teacher)": ["--teacher-samples", "10"],
    "harmonise": [],
}


def silhouettes(folder: Path) -> Path:
    """What is garment in each training image, as a stand-in for what people would mark."""
    folder.mkdir(parents=True, exist_ok=True)
    images, _, names = bundled_images("train")
    for image, name in zip(images, names, strict=True):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.where(image > 25, 255, 0).astype(np.uint8)).save(path)
    return folder


def folder_of(output: Path, name: str, seed: int) -> Path:
    """Where a training is."""
    return output / f"{name.translate(str.maketrans(' ', '-', '(),'))}-{seed}"


def commands(output: Path) -> Iterator[tuple[str, int, Path, list[str]]]:
    """Name, seed, folder and command of every training, teachers before those they teach."""
    for seed in SEEDS:
        for name, options in OBJECTIVES.items():
            objective = name.split(" (")[0]
            folder = folder_of(output, name, seed)
            command = ["finetune", "--objective", objective, "--seed", str(seed), *options]
            if name == "interpretation (robust teacher)":
                command += ["--teacher", str(output / f"pgd-{seed}" / "model.pt2")]
            if name == "harmonise":
                command += ["--annotations", str(output / "silhouettes")]
            yield name, seed, folder, [*command, "--output-dir", str(folder)]


def main() -> None:
    """Run what is not finished yet and write ``objectives.csv`` and ``objectives.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs"))
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--quick", action="store_true", help="32 audited images of a run")
    size.add_argument("--full", action="store_true", help="1,000 of them")
    asked = parser.parse_args()
    output = asked.output
    if not (output / "silhouettes").is_dir():
        silhouettes(output / "silhouettes")
    found = []
    for name, seed, folder, command in commands(output):
        if not (folder / "run.json").is_file():
            run = [sys.executable, "-m", "saliency_audit", *command]
            # One budget for all, also for what trains within another.
            run += ["--max-samples", "32" if asked.quick else "1000", "--audit-eps", "2/255"]
            if subprocess.run(run, env=os.environ).returncode:
                print(f"{name}, seed {seed}: did not finish; see above")
                continue
        found.append(values(folder).assign(objective=name, seed=seed))
    alike = stability(output)
    written = pd.concat([table(pd.concat(found)), across(alike)])
    written.to_csv(output / "objectives.csv", index=False)
    (output / "objectives.md").write_text(markdown(written))
    judged = claims(pd.concat(found), alike)
    judged.to_csv(output / "objectives-claims.csv", index=False, float_format="%.4g")
    print(f"{markdown(written)}\n{claims_markdown(judged)}")


def values(folder: Path) -> pd.DataFrame:
    """Model, check and mean of one run, of the questions of the table."""
    verdicts = pd.read_csv(folder / "verdicts.csv")
    own = verdicts[verdicts["check"].isin(COLUMNS)]
    return own[["check", "before", "after"]]


def stability(output: Path) -> pd.DataFrame:
    """Of each image (rows), the share of pixels that maps of two seeds have in common, by name."""
    alike = {}
    for name in OBJECTIVES:
        first, second = (folder_of(output, name, seed) / "model.pt2" for seed in SEEDS[:2])
        if not (first.is_file() and second.is_file()):
            continue  # a training did not finish
        report = output / f"{first.parent.name}-two-seeds"
        run = [sys.executable, "-m", "saliency_audit", "evaluate", str(first)]
        run += ["--other", str(second), "--metric", "stability", "--saliency", "gradient"]
        run += ["--max-samples", "100", "--output-dir", str(report), "--resume", "--quiet"]
        subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
        rows = pd.read_csv(report / "results.csv")
        own = rows[(rows["check"] == "stability") & (rows["saliency"] == "gradient")]
        alike[name] = own.set_index("image")["value"]
    return pd.DataFrame(alike)


def across(alike: pd.DataFrame) -> pd.DataFrame:
    """Rows for the table, with half of the interval over images."""
    rows = []
    for name, shares in alike.items():
        ours = over_images(shares.dropna())
        rows.append((name, TWO, ours.mean, (ours.high - ours.low) / 2, 2))
    return pd.DataFrame(rows, columns=TABLE_COLUMNS)


def claims(found: pd.DataFrame, alike: pd.DataFrame) -> pd.DataFrame:
    """What papers say of one objective beside another: differences on the same seeds or images."""
    own = found.set_index(["check", "objective", "seed"])["after"].sort_index()
    rows = []
    for text, (check, more, less) in CLAIMS.items():
        if check == TWO:
            ours = over_images((alike[more] - alike[less]).dropna())
        else:
            ours = over_trainings((own[check, more] - own[check, less]).dropna())
        rows.append((text, None, ours))
    return claims_table("objectives", rows)


def table(found: pd.DataFrame) -> pd.DataFrame:
    """Mean over the seeds, with the half-width of its 95 % t-interval, by objective and check."""
    rows = []
    first = found[found["objective"] == "cross-entropy"]
    for name, of_name in [("before", first), *found.groupby("objective", sort=False)]:
        column = "before" if name == "before" else "after"
        for check, own in of_name.groupby("check", sort=False):
            means = own[column].to_numpy(float)
            spread = name != "before" and len(means) > 1
            ours = over_trainings(means)
            half = ours.high - ours.mean if spread else float("nan")
            rows.append((name, check, means.mean(), half, len(means)))
    return pd.DataFrame(rows, columns=TABLE_COLUMNS)


def markdown(table: pd.DataFrame) -> str:
    """The table as Markdown."""
    lines = [
        "| objective | " + " | ".join(COLUMNS.values()) + " |",
        "|---" * (1 + len(COLUMNS)) + "|",
    ]
    for name, own in table.groupby("objective", sort=False):
        by_check = own.set_index("check")
        cells = []
        for check in COLUMNS:
            mean, half = (
                by_check.loc[check, ["mean", "half_width"]]
                if check in by_check.index
                else (np.nan,) * 2
            )
            digits = 1 if "norm" in check else 3
            text = "-" if np.isnan(mean) else f"{mean:.{digits}f}"
            cells.append(text if np.isnan(half) else f"{text} ± {half:.{digits}f}")
        count = int(own["trainings"].iloc[0])
        few = f" ({count} of {len(SEEDS)} trainings)" if count < len(SEEDS) else ""
        lines.append(f"| {name}{few} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
