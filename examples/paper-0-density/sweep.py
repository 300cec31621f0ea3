"""P0's sweep of score matching (App. E, Table 2): its weight lambda against mu.

python sweep.py (--quick | --full) IMAGES [--output DIR]

IMAGES is a folder with train/ and test/ of class folders; --quick takes 10,000 of the training
images of CIFAR-10. An interrupted run goes on where it stopped.
"""

import argparse
import subprocess
from itertools import pairwise
from pathlib import Path

import pandas as pd

from saliency_audit.stats.claims import Measured, claims_markdown, claims_table, over_images

PAPER = {  # lambda: accuracy (CIFAR-100, per cent) by mu
    "1e-2": {"1e-2": 48.68, "1e-3": 64.57, "1e-4": 64.75, "1e-5": 9.08},
    "1e-3": {"1e-2": 64.64, "1e-3": 71.37, "1e-4": 72.34, "1e-5": 34.46},
    "1e-4": {"1e-2": 69.85, "1e-3": 73.97, "1e-4": 75.65, "1e-5": 72.97},
    "1e-5": {"1e-2": 73.29, "1e-3": 75.37, "1e-4": 76.40, "1e-5": 74.80},
    "1e-6": {"1e-2": 75.43, "1e-3": 75.90, "1e-4": 76.77, "1e-5": 75.91},
}
CORNER = (("1e-2", "1e-3", "1e-4"), ("1e-3", "1e-4", "1e-5"))  # lambda, mu
WHOLE = (tuple(PAPER), ("1e-2", "1e-3", "1e-4", "1e-5"))
NETWORK = ["--channels", "3", "--size", "32", "--mean", "0.5", "--std", "0.5"]


def run(*words: str) -> None:
    """One training, or a sweep of them; nothing where it has finished."""
    print("saliency-audit finetune", *words, flush=True)
    subprocess.run(
        ["saliency-audit", "finetune", *words, *NETWORK, "--resume"],
        check=True,
        cwd=Path(__file__).parent,
    )


def quick(images: list[str], folder: Path, swept: list[str]) -> None:
    """One network that was trained without score matching, and an epoch of it at each point."""
    small = ["--arch", "networks:smaller", *images, "--max-train", "10000", "--max-val", "1000"]
    run(
        "--from-scratch", *small, "--objective", "cross-entropy", "--surrogate", "softplus",
        "--optimizer", "adam", "--lr", "0.003", "--train-batch-size", "50", "--epochs", "6",
        "--audit", "none", "--output-dir", str(folder / "baseline"),
    )  # fmt: skip
    run(
        str(folder / "baseline" / "model.safetensors"), *small, "--objective", "score-matching",
        *swept, "--optimizer", "sgd", "--lr", "0.003", "--train-batch-size", "50",
        "--audit", "accuracy,discriminative", "--max-samples", "100",
        "--output-dir", str(folder / "sweep"),
    )  # fmt: skip


def full(images: list[str], folder: Path, swept: list[str]) -> None:
    """P0's network and recipe, from random weights at each point."""
    run(
        "--from-scratch", "--arch", "networks:resnet18", *images, "--preset", "p0", *swept,
        "--audit", "accuracy,discriminative", "--max-samples", "1000", "--target", "label",
        "--output-dir", str(folder / "sweep"),
    )  # fmt: skip


def difference(of: pd.DataFrame, one: str, other: str) -> Measured:
    """One accuracy less another, on the same images; a training that collapsed has none right."""
    values = of.pivot_table(index="image", columns="model", values="value")
    values = values.reindex(columns=[one, other]).fillna(0)
    return over_images(values[one] - values[other])


def claims(of: pd.DataFrame, names: dict[tuple[str, str], str]) -> pd.DataFrame:
    """Whether neighbours in the grid are in P0's order."""
    weights, mus = (list(dict.fromkeys(place[axis] for place in names)) for axis in (0, 1))
    pairs = [((a, mu), (b, mu)) for mu in mus for a, b in pairwise(weights)]
    pairs += [((w, a), (w, b)) for w in weights for a, b in pairwise(mus)]
    found = []
    for one, other in pairs:
        theirs = (PAPER[one[0]][one[1]] - PAPER[other[0]][other[1]]) / 100
        better, worse = (one, other) if theirs > 0 else (other, one)
        text = f"accuracy: lambda, mu of {', '.join(better)} above {', '.join(worse)}"
        found.append((text, abs(theirs), difference(of, names[better], names[worse])))
    return claims_table("Table 2", found)


def main() -> None:
    """Train, measure, and write sweep.csv, sweep-claims.csv and sweep.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="folder with train/ and test/")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--quick", action="store_true", help="3 x 3 points, a small network")
    size.add_argument("--full", action="store_true", help="5 x 4 points, ResNet-18, for a GPU")
    parser.add_argument("--output", type=Path, default=Path("sweep"))
    asked = parser.parse_args()
    folder, place = asked.output.resolve(), asked.images.resolve()
    weights, mus = CORNER if asked.quick else WHOLE
    swept = ["--sweep", f"weight={','.join(weights)}", "--sweep", f"mu={','.join(mus)}"]
    images = ["--data", str(place / "train"), "--val", str(place / "test")]
    (quick if asked.quick else full)(images, folder, swept)

    table = pd.read_csv(folder / "sweep" / "sweep.csv")
    table.to_csv(folder / "sweep.csv", index=False, float_format="%.6g")
    results = pd.read_csv(folder / "sweep" / "results.csv")
    accuracy = results[(results["check"] == "accuracy") & (results["status"] == "ok")]
    names = {
        (weight, mu): f"weight={float(weight):.6g},mu={float(mu):.6g},seed=0"
        for weight in weights
        for mu in mus
    }
    own = table[(table["saliency"] == "gradient") | (table["check"] == "accuracy")]
    means = own.set_index(["weight", "mu", "check"])["mean"]
    lines = [
        "| lambda | mu | accuracy | P0 (CIFAR-100) | discriminative |",
        "|---|---|---|---|---|",
    ]
    for weight, mu in names:
        cells = []
        for check in ("accuracy", "discriminative"):
            value = means.get((float(weight), float(mu), check))
            scale = 100 if check == "accuracy" else 1
            cells.append("collapsed" if value is None else f"{scale * value:.{3 - scale // 50}f}")
        lines.append(f"| {weight} | {mu} | {cells[0]} | {PAPER[weight][mu]:.2f} | {cells[1]} |")
    judged = claims(accuracy, names)
    judged.to_csv(folder / "sweep-claims.csv", index=False, float_format="%.4g")
    text = "\n".join([*lines, "", claims_markdown(judged), ""])
    (folder / "sweep.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
