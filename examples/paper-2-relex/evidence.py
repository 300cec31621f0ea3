"""P2 S3.6 (Figure S5): what a network on CIFAR-10 takes for three classes an image is not of.

python evidence.py TRAIN TEST (--quick | --full)

TRAIN and TEST are images of CIFAR-10 as --data takes them (a folder of class folders, or
cifar10:DIR@train and cifar10:DIR). A small residual network (../paper-0-density/networks.py)
is trained first; then test images, clean and attacked by PGD, are shown through the masks that
RelEx finds for three fixed classes, and through random ones. With --quick: 8 epochs of 10,000
images, 24 test images, 20 of 50 copies; a quarter of an hour on one CPU core.
"""

import argparse
import os
import subprocess
from pathlib import Path

import pandas as pd

from saliency_audit.stats.claims import Measured, claims_markdown, claims_table

CLASSES = {1: "automobile", 3: "cat", 8: "ship"}
VIEWS = {"relex": "none", "gradcam": "minmax", "integrated-gradients": "percentile99"}  # as in P2
NETWORKS = str(Path(__file__).resolve().parent.parent / "paper-0-density")
NORMALISED = ["--mean", "0.491,0.482,0.447", "--std", "0.247,0.243,0.262"]


def run(command: str, *words: str) -> None:
    """One command of the tool, which goes on where it stopped."""
    path = os.pathsep.join(filter(None, (NETWORKS, os.environ.get("PYTHONPATH"))))
    subprocess.run(
        ["saliency-audit", command, *words, "--resume"],
        check=True,
        env=os.environ | {"PYTHONPATH": path},
    )


def measure(
    model: list[str], data: str, folder: Path, size: list[str], *, full: bool
) -> pd.DataFrame:
    """The share of images that are of each class when shown through its map."""
    found = []
    for saliency, view in VIEWS.items():
        own = ["--relex-copies", "20"] if saliency == "relex" and not full else []
        run(
            "evaluate", *model, "--data", data, "--saliency", saliency, "--view", view,
            "--metric", "class-evidence", *size, *own, "--output-dir", str(folder / saliency),
            *[word for index in CLASSES for word in ("--explain-class", str(index))],
        )  # fmt: skip
        verdicts = pd.read_csv(folder / saliency / "verdicts.csv")
        found.append(verdicts[verdicts["saliency"] == saliency])
    return pd.concat(found)


def claims(found: pd.DataFrame) -> pd.DataFrame:
    """P2: RelEx shows any class, on attacked images as well; beside random maps of the same."""
    own = found[found["saliency"] == "relex"]
    rows = []
    for line in own.to_dict("records"):
        index = int(str(line["setting"]).split(";")[0].removeprefix("class="))
        text = f"RelEx shows class {CLASSES[index]} on {line['images']} images, beside random maps"
        ends = (line[f"difference{of}"] for of in ("", "_low", "_high"))
        rows.append((text, None, Measured(*ends, int(line["n"]))))
    return claims_table("Figure S5", rows)


def main() -> None:
    """Train, attack, measure, print the tables, write evidence.csv and -claims.csv."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", help="training images, as --data takes them")
    parser.add_argument("test", help="test images, likewise")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--quick", action="store_true", help="what a CPU does")
    size.add_argument("--full", action="store_true", help="the paper's sizes")
    asked = parser.parse_args()
    train, data, full = asked.train, asked.test, asked.full
    folder = Path("class-evidence")
    few = [] if full else ["--max-train", "10000", "--epochs", "8"]
    run(
        "finetune", "--from-scratch", "--arch", "networks:small", "--size", "32",
        "--channels", "3", *NORMALISED, "--objective", "cross-entropy", "--data", train,
        "--val", data, "--max-val", "1000", "--optimizer", "adam", "--lr", "0.002", *few,
        "--audit", "accuracy", "--output-dir", str(folder / "network"),
    )  # fmt: skip
    model = [str(folder / "network" / "model.safetensors"), "--arch", "networks:small",
             "--size", "32", "--channels", "3", *NORMALISED]  # fmt: skip
    images = ["--max-samples", "256" if full else "24"]
    run(
        "attack", *model, "--data", data, "--attack", "pgd", "--eps", "8/255",
        "--measure", "gradient", *images, "--output-dir", str(folder / "attack"),
    )  # fmt: skip
    attacked = str(folder / "attack" / "images" / "manifest.csv")
    found = pd.concat(
        [
            measure(model, data, folder / "clean", images, full=full).assign(images="clean"),
            measure(model, attacked, folder / "attacked", images, full=full).assign(
                images="attacked"
            ),
        ]
    )
    found.to_csv("evidence.csv", index=False)
    print("| images | map | class | shown as that class [95 %] | random map |")
    print("|---|---|---|---|---|")
    for line in found.to_dict("records"):
        index = int(str(line["setting"]).split(";")[0].removeprefix("class="))
        print(
            f"| {line['images']} | {line['saliency']} | {CLASSES[index]} | {line['mean']:.2f} "
            f"[{line['ci_low']:.2f}, {line['ci_high']:.2f}] of {line['n']} | {line['random']:.2f} |"
        )
    judged = claims(found)
    judged.to_csv("evidence-claims.csv", index=False, float_format="%.4g")
    print(f"\n{claims_markdown(judged)}")


if __name__ == "__main__":
    main()
