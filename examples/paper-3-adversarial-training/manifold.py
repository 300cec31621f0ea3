"""P3 Figure 1: do adversarial examples of robust networks lie nearer to images?

python manifold.py (--quick | --full FASHION-MNIST) [--output DIR]

FASHION-MNIST is a folder with the four files of Fashion-MNIST; --quick takes the bundled images. An
interrupted run goes on where it stopped.
"""

import argparse
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pandas as pd

from saliency_audit.stats.claims import claims_markdown, claims_table, over_images

FULL = {"standard": 0.0, "weak": 0.5, "medium": 1.0, "strong": 2.0}
QUICK = {"standard": 0.0, "weak": 0.5, "strong": 2.0}
"""Budgets in pixel units, half of P3's, whose images are in [-1, 1]."""
EXAMPLES, NOISE, CLEAN = (f"manifold-distance{of}-median" for of in ("", "-noise", "-clean"))
CHECKS = (EXAMPLES, NOISE, CLEAN, "accuracy")


def run(command: str, *words: str, quick: bool) -> None:
    """One command of the tool, on these networks and quietly; nothing where it has finished."""
    subprocess.run(
        [
            sys.executable, "-m", "saliency_audit", command, *words,
            "--arch", f"networks:{'small_pooled' if quick else 'p3'}_cnn", "--channels", "1",
            "--size", "28", "--mean", "0", "--std", "1", "--resume", "--quiet",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).parent,
    )  # fmt: skip


def train(train: str, test: str, output: Path, *, quick: bool) -> None:
    """The networks, from fresh weights, each in a folder of its own."""
    steps = 5 if quick else 40
    for name, eps in (QUICK if quick else FULL).items():
        print(f"training: {name}", flush=True)
        objective = ["--objective", "cross-entropy"]
        if eps:
            objective = ["--objective", "pgd", "--norm", "l2", "--eps", str(eps)]
            objective += ["--steps", str(steps), "--step-size", str(2.5 * eps / steps)]
            objective += ["--no-random-start"]
        run(
            "finetune", "--from-scratch", *objective, "--epochs", "5", "--lr", "0.001",
            "--optimizer", "adam", "--train-batch-size", "100", "--data", train, "--val", test,
            "--max-val", "200" if quick else "1000", "--max-samples", "8",
            "--audit-eps", "1", "--audit-norm", "l2", "--output-dir", str(output / name),
            quick=quick,
        )  # fmt: skip


def measure(train: str, test: str, output: Path, manifold: str, *, quick: bool) -> Path:
    """Distances of all networks' examples to one manifold; its folder."""
    names = QUICK if quick else FULL
    first, *others = [output / f"{name}.safetensors" for name in names]
    for name in names:
        link = output / f"{name}.safetensors"
        link.unlink(missing_ok=True)
        link.hardlink_to(output / name / "model.safetensors")
    print(f"measuring distances to: {manifold}", flush=True)
    how = ["--manifold-epochs", "4"] if quick else ["--manifold-preset", "p3-mnist"]
    if manifold == "pca":
        how = ["--manifold", "pca"]
    folder = output / f"distances-{manifold}"
    run(
        "evaluate", str(first), *[word for path in others for word in ("--compare", str(path))],
        "--metric", "manifold-distance", "--metric", "accuracy", *how, "--train", train,
        "--saliency", "gradient", "--data", test, "--max-samples", "300" if quick else "10000",
        "--output-dir", str(folder), quick=quick,
    )  # fmt: skip
    return folder


def table(folders: dict[str, Path]) -> pd.DataFrame:
    """Medians of distances, and the accuracy, with their 95 % intervals."""
    parts = []
    for manifold, folder in folders.items():
        found = pd.read_csv(folder / "summary.csv")
        names = found["model"].str.removesuffix(".safetensors")
        found = found.assign(manifold=manifold, network=names, value=found["mean"])
        parts += [found[found["check"] == check] for check in CHECKS]
    columns = ["manifold", "network", "check", "n", "n_undefined", "value", "ci_low", "ci_high"]
    return pd.concat(parts)[columns]


def claims(folders: dict[str, Path]) -> pd.DataFrame:
    """P3's orderings, as mean differences of distance on the same images."""
    found = []
    for manifold, folder in folders.items():
        rows = pd.read_csv(folder / "results.csv")
        own = rows[(rows["check"] == EXAMPLES.removesuffix("-median")) & (rows["status"] == "ok")]
        values = own.pivot_table(index="image", columns="model", values="value")
        values.columns = values.columns.str.removesuffix(".safetensors")
        for farther, nearer in combinations([name for name in FULL if name in values], 2):
            apart = (values[farther] - values[nearer]).dropna()
            text = f"examples of {nearer} nearer to images than of {farther}, {manifold}"
            found.append((text, None, over_images(apart)))
    return claims_table("Figure 1", found)


def main() -> None:
    """Train, measure, write manifold.csv and manifold-claims.csv, print the latter."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--quick", action="store_true", help="bundled images, small networks")
    size.add_argument(
        "--full", type=Path, metavar="FASHION-MNIST", help="all images, P3's networks and VAE-GAN"
    )
    parser.add_argument("--output", type=Path, default=Path("manifold"))
    options = parser.parse_args()

    train_images, test_images = "bundled:fashion-mnist-train", "bundled:fashion-mnist"
    if options.full is not None:
        test_images = f"fashion-mnist:{options.full.resolve()}"
        train_images = f"{test_images}@train"
    output = options.output.resolve()
    train(train_images, test_images, output, quick=options.quick)
    folders = {
        manifold: measure(train_images, test_images, output, manifold, quick=options.quick)
        for manifold in ("pca", "vae-gan")
    }
    found = table(folders)
    found.to_csv(output / "manifold.csv", index=False, float_format="%.4g")
    judged = claims(folders)
    judged.to_csv(output / "manifold-claims.csv", index=False, float_format="%.4g")
    print(claims_markdown(judged))


if __name__ == "__main__":
    main()
