"""P3 Figure 1: do adversarial examples of robust networks lie nearer to images?

python figure_1.py (--quick | --full FASHION-MNIST) [--output DIR]

FASHION-MNIST is a folder with the four files of Fashion-MNIST; --quick takes the bundled images. An
interrupted run goes on where it stopped.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import pandas as pd

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
            "--arch", f"networks:{'small' if quick else 'p3'}_cnn", "--channels", "1",
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


def word(nearer: pd.Series, farther: pd.Series) -> str:
    """Whether one median lies below another, by their intervals."""
    if nearer["ci_high"] < farther["ci_low"]:
        return "agrees"
    return "contradicts" if nearer["ci_low"] > farther["ci_high"] else "not shown"


def claims(found: pd.DataFrame) -> str:
    """Markdown: what P3 says of each pair, and what these numbers say."""
    lines = [
        "| manifold | P3: examples lie nearer | medians of both, 95 % | these numbers |",
        "|---|---|---|---|",
    ]
    names = list(dict.fromkeys(found["network"]))
    pairs = [(names[0], name) for name in names[1:]]
    pairs += [(names[i], names[i + 1]) for i in range(1, len(names) - 1)]
    for manifold, own in found.groupby("manifold", sort=False):
        medians = own[own["check"] == EXAMPLES].set_index("network")
        for farther, nearer in pairs:
            near, far = medians.loc[nearer], medians.loc[farther]
            shown = "; ".join(
                f"{one['value']:.2f} [{one['ci_low']:.2f}, {one['ci_high']:.2f}]"
                for one in (near, far)
            )
            lines.append(f"| {manifold} | {nearer} than {farther} | {shown} | {word(near, far)} |")
    return "\n".join(lines)


def main() -> None:
    """Train, measure, write table.csv and claims.md, and print the latter."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--quick", action="store_true", help="bundled images, small networks")
    size.add_argument(
        "--full", type=Path, metavar="FASHION-MNIST", help="all images, P3's networks and VAE-GAN"
    )
    parser.add_argument("--output", type=Path, default=Path("figure-1"))
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
    found.to_csv(output / "table.csv", index=False, float_format="%.4g")
    (output / "claims.md").write_text(claims(found) + "\n")
    print(claims(found))


if __name__ == "__main__":
    main()
