"""P2's robustness claim: RelEx beside other maps, under attacks made against those.

python robustness.py IMAGES MASKER [--full]

IMAGES is what --data takes: photographs of ImageNet classes. MASKER is a masking network of rt-sal
for lite0.pt2, such as ../evaluate-a-pretrained-network/table_s3.py leaves behind. lite0.pt2 is what
../forge-a-pretrained-network/make_model.py writes. Images are attacked once against each method;
then evaluate explains the attacked images by that method and by RelEx. An hour on one CPU core
without --full, nearly all of it RelEx.
"""

import subprocess
import sys
from pathlib import Path

import pandas as pd

METHODS = {
    "smoothgrad": "SmGrad",
    "integrated-gradients": "IntGrad",
    "gradcam": "GradCAM",
    "rt-sal": "RT-Sal",
}
MODEL = ["lite0.pt2", "--mean", "0.498", "--std", "0.502"]
SEARCH = {
    "topk": ["--eps", "8/255", "--steps", "10"],
    "structured": ["--steps", "30"],
    "pgd": ["--eps", "8/255", "--steps", "10"],
}
FEWER = ["--samples", "4", "--ig-steps", "4"]
MASKS = ["--view", "none"]


def run(*words: str) -> None:
    """One command of the tool, which goes on where it stopped."""
    subprocess.run(["saliency-audit", *words, "--resume"], check=True)


def attacked(data: str, masker: str, folder: Path, *, full: bool) -> pd.DataFrame:
    """The manifest of the clean and of all attacked images: path, label, attack, saliency."""
    images = 32 if full else 8
    found = []
    for attack, search in SEARCH.items():
        report = folder / attack
        against = [] if attack == "pgd" else [w for m in METHODS for w in ("--saliency", m)]
        measured = ["--measure", "gradient"]
        run(
            "attack", *MODEL, "--data", data, "--attack", attack, *search, *against, *measured,
            *(["--masker", masker] if against else []), *([] if full else FEWER),
            "--max-samples", str(images), "--output-dir", str(report),
        )  # fmt: skip
        manifest = pd.read_csv(report / "images" / "manifest.csv").fillna({"saliency": ""})
        manifest["path"] = [str((report / "images" / path).resolve()) for path in manifest["path"]]
        found.append(manifest)
    return pd.concat(found)


def measure(
    manifest: pd.DataFrame, methods: list[str], masker: str, folder: Path, *, full: bool
) -> pd.DataFrame:
    """Deletion and retrieval of a group of images, which have the size of the model's input."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest[["path", "label"]].to_csv(folder / "images.csv", index=False)
    found = []
    for name in methods:
        report = folder / name
        run(
            "evaluate", *MODEL, "--data", str(folder / "images.csv"), "--resize", "224",
            "--saliency", name, "--metric", "deletion", "--metric", "retrieval",
            *(["--view", "none", *([] if full else ["--relex-copies", "2"])] if name == "relex"
              else ["--view", "minmax"] if name in ("gradcam", "rt-sal") else []),
            *(["--masker", masker] if name == "rt-sal" else []),
            "--max-samples", str(len(manifest)), "--output-dir", str(report),
        )  # fmt: skip
        found.append(pd.read_csv(report / "verdicts.csv"))
    return pd.concat(found)


def main() -> None:
    """Attack, measure, print the table and write it to robustness.csv."""
    data, masker, full = sys.argv[1], sys.argv[2], "--full" in sys.argv
    folder = Path("robustness")
    manifest = attacked(data, masker, folder / "attacks", full=full)
    rows = []
    for (attack, against), own in manifest.groupby(["attack", "saliency"], sort=False):
        names = [against, "relex"] if against else [*METHODS, "relex"]
        place = folder / "measured" / "-".join(filter(None, (attack, against)))
        found = measure(own, names, masker, place, full=full)
        rows.append(found.assign(attack=attack, against=against))
    table = pd.concat(rows)
    table.to_csv("robustness.csv", index=False)
    print("| attack | against | map | retrieval | deletion [95 %] | to random |")
    print("|---|---|---|---|---|---|")
    groups = ["attack", "against", "saliency"]
    for (attack, against, name), own in table.groupby(groups, sort=False):
        by_check = own.set_index("check")
        if "deletion" not in by_check.index or name not in ("relex", *METHODS):
            continue
        area, kept = by_check.loc["deletion"], by_check.loc["retrieval"]
        print(
            f"| {attack} | {METHODS.get(against, 'prediction')} | {METHODS.get(name, 'RelEx')} | "
            f"{kept['mean']:.2f} of {kept['n']} | {area['mean']:.3f} [{area['ci_low']:.3f}, "
            f"{area['ci_high']:.3f}] | {area['difference']:+.3f} |"
        )


if __name__ == "__main__":
    main()
