"""P1's Figure 11: how like maps stay as layers are drawn at random, from the output on.

python cascade.py (--quick | --full) [--output DIR]

The bundled network of Fashion-MNIST, and the same after adversarial training with P1's l1 penalty.
An interrupted run goes on where it stopped.
"""

import argparse
import subprocess
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from saliency_audit.stats.claims import claims_markdown, claims_table, over_images

METHODS = ("gradient", "smoothgrad", "integrated-gradients")
SSIM, NORM = "sanity-cascade-ssim", "sanity-cascade-map-norm"
NETWORKS = {"standard": "plain training", "l1": "adversarial training, l1"}


def run(command: str, *words: str) -> None:
    """One command of the tool; nothing where it has finished."""
    print("saliency-audit", command, *words, flush=True)
    subprocess.run(["saliency-audit", command, *words, "--resume", "--quiet"], check=True)


def measure(folder: Path, *, quick: bool) -> pd.DataFrame:
    """Rows of the cascade over every layer, of both networks."""
    run(
        "finetune", "--objective", "adversarial", "--penalty", "l1", "--eps", "8/255",
        "--audit", "none", "--epochs", "1" if quick else "10", "--output-dir", str(folder / "l1"),
    )  # fmt: skip
    parts = []
    for name in NETWORKS:
        model = [] if name == "standard" else [str(folder / "l1" / "model.pt2")]
        run(
            "evaluate", *model, "--metric", "sanity-cascade", "--stages", "0",
            "--draws", "1" if quick else "5", "--max-samples", "32" if quick else "1000",
            *[word for method in METHODS for word in ("--saliency", method)],
            "--output-dir", str(folder / name / "cascade"),
        )  # fmt: skip
        rows = pd.read_csv(folder / name / "cascade" / "results.csv")
        parts.append(rows[rows["check"].isin((SSIM, NORM))].assign(network=name))
    found = pd.concat(parts)
    found["layers"] = found["setting"].str.extract(r"randomised=([^;]+)")[0].str.split("/").str[0]
    return found[found["layers"] != "mean"]


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval of each stage, by network and method."""
    key = ["network", "saliency", "check", "layers"]
    lines = [(*name, *over_images(own["value"])) for name, own in rows.groupby(key, sort=False)]
    return pd.DataFrame(lines, columns=[*key, "mean", "ci_low", "ci_high", "n"])


def claims(rows: pd.DataFrame) -> pd.DataFrame:
    """P1: likeness decays towards the input, and the maps of random weights look blank."""
    found = []
    for (network, method), own in rows.groupby(["network", "saliency"], sort=False):
        if method not in METHODS:
            continue
        values = own.pivot_table(index="image", columns=["check", "layers"], values="value")
        where = f"{method}, {NETWORKS[str(network)]}"
        fallen = (values[SSIM, "1"] - values[SSIM, "all"]).dropna()
        found.append(
            (f"SSIM falls from one random layer to all: {where}", None, over_images(fallen))
        )
        if (NORM, "all") in values:
            faint = (1 - values[NORM, "all"]).dropna()
            text = f"norm lost when all layers are random (blank is 1): {where}"
            found.append((text, 1.0, over_images(faint)))
    return claims_table("Figure 11", found)


def draw(found: pd.DataFrame, path: Path) -> None:
    """SSIM against the number of random layers, as Figure 11."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for axis, (network, title) in zip(axes, NETWORKS.items(), strict=True):
        own = found[(found["network"] == network) & (found["check"] == SSIM)]
        for method, line in own.groupby("saliency", sort=False):
            control = method not in METHODS
            axis.plot(range(1, len(line) + 1), line["mean"], "--" if control else "-", label=method)
            axis.fill_between(
                range(1, len(line) + 1), line["ci_low"], line["ci_high"], alpha=0.2, linewidth=0
            )
        axis.set(title=title, xlabel="layers with random weights, from the output on")
    axes[0].set(ylabel="SSIM to the map of the trained network", ylim=(-0.05, 1.05))
    axes[1].legend(fontsize=8, loc=(0.02, 0.62))
    figure.savefig(path, dpi=110)


def main() -> None:
    """Train, measure, write cascade.csv, cascade-claims.csv and cascade.png."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--quick", action="store_true", help="32 images, one draw")
    size.add_argument("--full", action="store_true", help="1,000 images, five draws")
    parser.add_argument("--output", type=Path, default=Path("cascade"))
    asked = parser.parse_args()
    output = asked.output.resolve()
    rows = measure(output, quick=asked.quick)
    found = table(rows)
    found.to_csv(output / "cascade.csv", index=False, float_format="%.4g")
    judged = claims(rows)
    judged.to_csv(output / "cascade-claims.csv", index=False, float_format="%.4g")
    draw(found, output / "cascade.png")
    print(claims_markdown(judged))


if __name__ == "__main__":
    main()
