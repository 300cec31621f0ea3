"""P3's Figures 4 and 5: do networks trained against attacks have gradients that say more?

python roar.py (--quick | --full CIFAR10) [--output DIR]

Part "methods" compares saliency methods on one network, part "sweep" the gradient and its product
with the image on networks trained within growing budgets. An interrupted run goes on where it
stopped.
"""

import argparse
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from saliency_audit.stats.claims import (
    Measured,
    claims_markdown,
    claims_table,
    over_trainings,
)

METHODS = ("gradient", "input-x-gradient", "integrated-gradients", "gradcam")
PRODUCT, GRADIENT = "input-x-gradient", "gradient"
CHECKS = ("roar", "kar")
Claim = tuple[str, float | None, Measured]
PAPER = {  # Spearman's correlation of the check with eps, and with the accuracy (Figures 4 and 5)
    ("l2", PRODUCT, "roar"): (0.9455, -0.9584),
    ("l2", PRODUCT, "kar"): (0.6260, -0.5623),
    ("linf", PRODUCT, "roar"): (0.9351, -0.9377),
    ("linf", PRODUCT, "kar"): (0.8766, -0.8169),
    ("l2", GRADIENT, "roar"): (0.9727, -0.9701),
    ("l2", GRADIENT, "kar"): (-0.4623, 0.4805),
    ("linf", GRADIENT, "roar"): (0.8857, -0.9091),
    ("linf", GRADIENT, "kar"): (0.5779, -0.5156),
}


@dataclass(frozen=True)
class Size:
    """How much is done.

    Attributes:
        network: options that name network and images.
        training: how the explained networks are trained.
        standard: of the one without attacks.
        attack: of training against attacks, by norm, with the budgets.
        shares: of the pixels that are replaced, in both parts.
        anew: how networks are trained anew.
        repeats: trainings of each, in both parts.
    """

    network: list[str]
    training: list[str]
    standard: list[str]
    attack: dict[str, tuple[list[str], list[str]]]
    shares: tuple[str, str]
    anew: list[str]
    repeats: tuple[int, int]


def budgets(count: int, step: float) -> list[str]:
    """As many budgets, from 0, in pixel values."""
    return [f"{step * place:g}" for place in range(count)]


QUICK = Size(
    network=["--arch", "networks:SmallCnn", "--channels", "1", "--size", "28"],
    training=["--lr", "0.003", "--train-batch-size", "50"],
    standard=["--epochs", "8"],
    attack={
        "l2": (["--epochs", "3", "--steps", "3"], ["0", "0.25", "0.5", "1", "2"]),
        "linf": (["--epochs", "3", "--steps", "3"], ["0", "0.01", "0.02", "0.04", "0.08"]),
    },
    shares=("0.3,0.7", "0.5"),
    anew=[
        "--recipe", "epochs=1", "--recipe", "batch-size=50", "--recipe", "lr=0.003",
    ],
    repeats=(5, 2),
)  # fmt: skip
FULL = Size(  # P3's budgets and steps are of images in [-1, 1]: half of them here
    network=["--arch", "networks:CifarCnn", "--channels", "3", "--size", "32"],
    training=["--lr", "0.001", "--train-batch-size", "100"],
    standard=["--epochs", "20"],
    attack={
        "l2": (["--epochs", "20", "--steps", "40", "--step-size", "1"], budgets(20, 0.04)),
        "linf": (["--epochs", "20", "--steps", "40", "--step-size", "0.01"], budgets(20, 0.001)),
    },
    shares=("0.1,0.3,0.5,0.7,0.9",) * 2,
    anew=["--recipe", "epochs=20"],
    repeats=(3, 3),
)


def run(command: str, *words: str) -> None:
    """One command of the tool; nothing where it has finished."""
    colours = ["--mean", "0.5", "--std", "0.5"]  # networks see [-1, 1], as P3's do
    print("saliency-audit", command, *words, flush=True)
    subprocess.run(
        ["saliency-audit", command, *words, *colours, "--resume"],
        check=True,
        cwd=Path(__file__).parent,
    )


def train(size: Size, data: list[str], folder: Path, *words: str) -> None:
    """A network, or a sweep of them, from random weights."""
    how = ["--from-scratch", "--optimizer", "adam", "--schedule", "constant"]
    run(
        "finetune", *size.network, *data, *how, *size.training, *words,
        "--output-dir", str(folder),
    )  # fmt: skip


def methods(size: Size, data: list[str], folder: Path) -> pd.DataFrame:
    """ROAR and KAR of several methods on the network that was trained without attacks."""
    train(
        size, data, folder / "standard", "--objective", "cross-entropy", *size.standard,
        "--audit", "none",
    )  # fmt: skip
    named = [word for name in METHODS for word in ("--saliency", name)]
    asked = [word for check in CHECKS for word in ("--metric", check)]
    images = ["--data", data[3], "--train", data[1]] if data else []
    run(
        "evaluate", str(folder / "standard" / "model.safetensors"), *size.network, *images,
        *asked, *named, *size.anew, "--fractions", size.shares[0],
        "--repeats", str(size.repeats[0]),
        "--output-dir", str(folder / "methods"),
    )  # fmt: skip
    found = pd.read_csv(folder / "methods" / "results.csv")
    return found.assign(part="methods", norm="", eps=0.0)


def sweep(size: Size, data: list[str], folder: Path) -> pd.DataFrame:
    """ROAR and KAR of the loss gradient, and of its product with the image, by norm and budget."""
    parts = []
    named = [word for name in (GRADIENT, PRODUCT) for word in ("--saliency", name)]
    for norm, (how, eps) in size.attack.items():
        train(
            size, data, folder / norm, "--objective", "pgd", "--norm", norm, *how,
            "--sweep", f"eps={','.join(eps)}", "--audit", ",".join(CHECKS), "--scalar", "loss",
            *named, *size.anew, "--fractions", size.shares[1],
            "--repeats", str(size.repeats[1]),
        )  # fmt: skip
        found = pd.read_csv(folder / norm / "results.csv")
        found["eps"] = found["model"].str.extract(r"eps=([^,]+)")[0].astype(float)
        parts.append(found.assign(part="sweep", norm=norm))
    return pd.concat(parts)


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and 95 % t-interval over repeats of each check of each network and method."""
    own = rows[rows["check"].isin((*CHECKS, "roar-mask-only", "kar-mask-only"))]
    key = ["part", "norm", "eps", "check", "saliency", "setting"]
    lines = [
        (*name, *over_trainings(group["value"])) for name, group in own.groupby(key, sort=False)
    ]
    return pd.DataFrame(lines, columns=[*key, "mean", "ci_low", "ci_high", "n"])


def product_above_gradient(rows: pd.DataFrame) -> list[Claim]:
    """P3 3.2: the product is above the gradient, for every network and under both checks.

    The interval is over the networks, or over the repeats where there is one; trainings of one
    number start from the same weights, so differences are paired.
    """
    found: list[Claim] = []
    for (norm, check), own in rows[rows["check"].isin(CHECKS)].groupby(["norm", "check"]):
        values = own.pivot_table(index=["eps", "image"], columns="saliency", values="value")
        apart = values[PRODUCT] - values[GRADIENT]
        each = apart.groupby("eps").mean()
        ours = over_trainings(each if len(each) > 1 else apart)
        where = f"networks against {norm}" if norm else "standard network"
        found.append((f"{check.upper()} of the product above the gradient's, {where}", None, ours))
    return found


def trends(folder: Path, norm: str) -> list[Claim]:
    """Spearman's correlations over trainings with their intervals, ours and P3's."""
    rows = pd.read_csv(folder / norm / "correlations.csv")
    found: list[Claim] = []
    for (of, saliency, check), paper in PAPER.items():
        if of != norm:
            continue
        for against, theirs in zip(("eps", "accuracy"), paper, strict=True):
            own = rows[
                (rows["check"] == check)
                & (rows["saliency"] == saliency)
                & (rows["against"] == against)
            ].iloc[0]
            ends = [own[name] for name in ("spearman", "spearman_low", "spearman_high")]
            if np.isnan(ends[1]):  # all in one order
                ends = [own["spearman"]] * 3
            sign = 1 if theirs > 0 else -1
            middle, *sides = (sign * end for end in ends)
            verb = "rises" if theirs > 0 else "falls"
            text = f"{check.upper()} of the {saliency} {verb} with {against}, {norm}"
            found.append((text, abs(theirs), Measured(middle, min(sides), max(sides), own["n"])))
    return found


def by_method(found: pd.DataFrame) -> list[str]:
    """ROAR and KAR of each method, best ROAR first."""
    own = found[(found["part"] == "methods") & found["check"].isin(CHECKS)]
    roar = own[own["check"] == "roar"].sort_values("mean", ascending=False)
    lines = []
    for saliency in roar["saliency"]:
        cells = []
        for check in CHECKS:
            line = own[(own["saliency"] == saliency) & (own["check"] == check)].iloc[0]
            cells.append(f"{line['mean']:.3f} [{line['ci_low']:.3f}, {line['ci_high']:.3f}]")
        mask = found[
            (found["part"] == "methods")
            & (found["saliency"] == saliency)
            & (found["check"] == "roar-mask-only")
        ]
        cells.append(" / ".join(f"{value:.2f}" for value in mask["mean"]))
        lines.append(f"| {saliency} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Train, measure, and write roar.csv, roar-claims.csv and roar.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--quick", action="store_true", help="bundled images of Fashion-MNIST")
    size.add_argument("--full", metavar="CIFAR10", help="folder of CIFAR-10, for a GPU")
    parser.add_argument("--output", type=Path, default=Path("roar"))
    asked = parser.parse_args()
    output = asked.output.resolve()
    data: list[str] = []
    if asked.full:
        place = f"cifar10:{Path(asked.full).resolve()}"
        data = ["--data", f"{place}@train", "--val", place]
    chosen = FULL if asked.full else QUICK
    rows = pd.concat([methods(chosen, data, output), sweep(chosen, data, output)])
    found = table(rows)
    found.to_csv(output / "roar.csv", index=False, float_format="%.6g")
    swept = rows[rows["part"] == "sweep"]
    claims = [claim for norm in swept["norm"].unique() for claim in trends(output, norm)]
    claims += product_above_gradient(rows[rows["part"] == "methods"])
    claims += product_above_gradient(swept)
    judged = claims_table("Figures 4, 5", claims)
    judged.to_csv(output / "roar-claims.csv", index=False, float_format="%.4g")
    table_of_methods = [
        "| method | ROAR | KAR | accuracy from the mask alone |",
        "|---|---|---|---|",
        *by_method(found),
    ]
    text = "\n".join([*table_of_methods, "", claims_markdown(judged), ""])
    (output / "roar.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
