"""P1's Figure 9: the maps of networks that learned random labels, with and without an adversary.

python random_labels.py (--quick | --full) [--seeds N] [--output DIR]

P1 reports that adversarial training on random labels ends in one prediction for all images, and in
maps of zeros. An interrupted run goes on where it stopped.
"""

import argparse
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from saliency_audit.assets import bundled_images
from saliency_audit.stats.claims import claims_markdown, claims_table, over_trainings

OBJECTIVES = {
    "plain": ["--objective", "cross-entropy"],
    "adversarial": ["--objective", "adversarial", "--penalty", "elastic", "--eps", "8/255"],
}
LABELS = ("true", "random")
NORM = "gradient-norm-target"


def run(command: str, *words: str) -> None:
    """One command of the tool; nothing where it has finished."""
    subprocess.run(
        ["saliency-audit", command, *words, "--resume", "--quiet"],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def images(folder: Path, count: int, seed: int) -> None:
    """Bundled training images as files, and a manifest of their true and of permuted labels."""
    if (folder / "random.csv").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    pixels, labels, _ = bundled_images("train")
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(pixels))[:count]
    for place in chosen:
        Image.fromarray(pixels[place]).save(folder / f"{place}.png")
    true = pd.DataFrame({"path": [f"{place}.png" for place in chosen], "label": labels[chosen]})
    true.to_csv(folder / "true.csv", index=False)
    true.assign(label=rng.permutation(true["label"])).to_csv(folder / "random.csv", index=False)


def measure(folder: Path, seed: int, *, quick: bool) -> pd.DataFrame:
    """A row for each network of a seed: norms of its gradients, and how many classes it names."""
    images(folder / "images", 3000 if quick else 6000, seed)
    rows = []
    for labels in LABELS:
        for name, objective in OBJECTIVES.items():
            place = folder / f"{labels}-{name}"
            print(f"seed {seed}: {labels} labels, {name} training", flush=True)
            run(
                "finetune", "--from-scratch", *objective, "--data",
                str(folder / "images" / f"{labels}.csv"), "--val", "bundled:fashion-mnist",
                "--epochs", "3" if quick else "20", "--optimizer", "adam", "--lr", "0.002",
                "--audit", "none", "--seed", str(seed), "--output-dir", str(place),
            )  # fmt: skip
            run(
                "evaluate", str(place / "model.pt2"), "--metric", NORM, "--metric", "accuracy",
                "--saliency", "gradient", "--max-samples", "200", "--seed", str(seed),
                "--output-dir", str(place / "evaluate"),
            )  # fmt: skip
            found = pd.read_csv(place / "evaluate" / "results.csv")
            norms = found[(found["check"] == NORM) & (found["status"] == "ok")]
            seen = found.drop_duplicates("image")["target"]
            rows.append(
                {
                    "labels": labels,
                    "training": name,
                    "seed": seed,
                    "accuracy": found[found["check"] == "accuracy"]["value"].mean(),
                    "norm": norms["value"].mean(),
                    "most_frequent": seen.value_counts(normalize=True).max(),
                }
            )
    return pd.DataFrame(rows)


def claims(found: pd.DataFrame) -> pd.DataFrame:
    """P1's two sentences, as differences on the same seeds."""
    by = found.set_index(["labels", "training", "seed"]).sort_index()
    norm, same = by["norm"], by["most_frequent"]
    shorter = 1 - norm["random", "adversarial"] / norm["true", "adversarial"]
    beside = same["random", "adversarial"] - same["random", "plain"]
    rows = [
        (
            "adversarial: share of the gradient's norm lost under random labels (all: 1)",
            1.0,
            over_trainings(shorter),
        ),
        (
            "random labels: more images share one prediction under adversarial than plain training",
            None,
            over_trainings(beside),
        ),
    ]
    return claims_table("Figure 9", rows)


def table(found: pd.DataFrame) -> str:
    """Means over the seeds with half of the interval, as Markdown."""
    lines = [
        "| labels | training | accuracy | norm of the gradient | images with the most frequent "
        "prediction |",
        "|---" * 5 + "|",
    ]
    for (labels, training), own in found.groupby(["labels", "training"], sort=False):
        cells = [str(labels), str(training)]
        for name in ("accuracy", "norm", "most_frequent"):
            ours = over_trainings(own[name])
            cells.append(f"{ours.mean:.3g} ± {ours.high - ours.mean:.2g}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Train, measure, write random_labels.csv and random_labels-claims.csv, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--quick", action="store_true", help="3,000 images, 3 epochs")
    size.add_argument("--full", action="store_true", help="6,000 images, 20 epochs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("random-labels"))
    asked = parser.parse_args()
    output = asked.output.resolve()
    parts = [
        measure(output / f"seed-{seed}", seed, quick=asked.quick) for seed in range(asked.seeds)
    ]
    found = pd.concat(parts)
    found.to_csv(output / "random_labels.csv", index=False, float_format="%.4g")
    judged = claims(found)
    judged.to_csv(output / "random_labels-claims.csv", index=False, float_format="%.4g")
    print(f"{table(found)}\n\n{claims_markdown(judged)}")


if __name__ == "__main__":
    main()
