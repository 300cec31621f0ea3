"""P1's Table 5: how much of the AOPC sparse maps lose, on EfficientNet-Lite0.

python sparsification.py IMAGES (--quick | --full)

IMAGES is what --data takes: photographs of ImageNet classes. It needs lite0.pt2, which
../forge-a-pretrained-network/make_model.py writes. With --quick MoreauGrad takes fewer copies and
steps (FEWER) and SmoothGrad fewer copies: half an hour on one CPU core.
"""

import argparse
import subprocess
from pathlib import Path

import pandas as pd

from saliency_audit.stats.claims import Measured, claims_markdown, claims_table
from saliency_audit.stats.paired import relative_drop

ROWS = {  # method, base, P1's drop in per cent after 20, 50 and 100 regions (EfficientNet-B0)
    "Sparsification": ("sparsified", "gradient", (2.75, 18.93, 36.16)),
    "Sparsified SmoothGrad": ("sparsified-smoothgrad", "smoothgrad", (25.34, 24.84, 18.13)),
    "Sparse MoreauGrad": ("sparse-moreau", "smoothgrad", (11.29, 32.32, 45.61)),
}
COPIES = ["--samples", "64"]
FEWER = {"maps": ["--samples", "32"], "moreau": ["--samples", "4", "--moreau-steps", "40"]}


def measure(data: str, folder: Path, methods: list[str], *options: str) -> pd.DataFrame:
    """The rows of `results.csv` on 32 images."""
    subprocess.run(
        [
            "saliency-audit", "evaluate", "lite0.pt2", "--mean", "0.498", "--std", "0.502",
            "--data", data, "--preset", "p1", "--metric", "aopc", "--max-samples", "32",
            *[word for name in methods for word in ("--saliency", name)], *options,
            "--output-dir", str(folder), "--resume",
        ],
        check=True,
    )  # fmt: skip
    return pd.read_csv(folder / "results.csv")


def main() -> None:
    """Measure, print the tables, write sparsification.csv and -claims.csv."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", help="as --data takes them")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--quick", action="store_true", help="what a CPU does")
    size.add_argument("--full", action="store_true", help="the paper's sizes")
    asked = parser.parse_args()
    data, full = asked.images, asked.full
    maps = ["gradient", "sparsified", "smoothgrad", "sparsified-smoothgrad"]
    first = measure(data, Path("sparsification/maps"), maps, *(COPIES if full else FEWER["maps"]))
    moreau = COPIES if full else FEWER["moreau"]
    second = measure(data, Path("sparsification/moreau"), ["sparse-moreau"], *moreau)
    rows = pd.concat([first, second[second["saliency"] == "sparse-moreau"]], ignore_index=True)
    drops = {base: relative_drop(rows, base) for base in ("gradient", "smoothgrad")}
    found = pd.concat([own.assign(base=base) for base, own in drops.items()])
    absolute = rows.groupby(["saliency", "setting"], sort=False)["value"].mean()
    found["aopc"] = [absolute[name, at] for name, at in found[["saliency", "setting"]].values]
    found.to_csv("sparsification.csv", index=False)
    settings = list(dict.fromkeys(found["setting"]))
    claims = []
    print("| method (base) | " + " | ".join(f"{at} | P1" for at in settings) + " |")
    print("|---|" + "---|---|" * len(settings))
    for title, (name, base, paper) in ROWS.items():
        cells = [f"{title} ({base})"]
        own = found[(found["saliency"] == name) & (found["base"] == base)].set_index("setting")
        for at, theirs in zip(settings, paper, strict=True):
            line = own.loc[at]
            low, high = line["ci_low"], line["ci_high"]
            cells += [f"{line['mean']:.1f} [{low:.1f}, {high:.1f}]", f"{theirs:.1f}"]
            claim = (
                f"{title} costs AOPC, {at.partition(';')[0].removeprefix('regions=')} regions, %"
            )
            claims.append((claim, theirs, Measured(line["mean"], low, high, line["n"])))
        print(f"| {' | '.join(cells)} |")
    for name in ("random", "sobel"):
        means = ", ".join(f"{absolute[name, at]:.3f}" for at in settings)
        print(f"AOPC of {name}: {means}; of the gradient: ", end="")
        print(", ".join(f"{absolute['gradient', at]:.3f}" for at in settings))
    judged = claims_table("Table 5", claims)
    judged.to_csv("sparsification-claims.csv", index=False, float_format="%.4g")
    print(f"\n{claims_markdown(judged)}")


if __name__ == "__main__":
    main()
