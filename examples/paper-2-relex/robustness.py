"""P2's robustness claim: RelEx under attacks made against other maps, on EfficientNet-Lite0.

python robustness.py IMAGES (--quick | --full)

IMAGES is what --data takes: photographs of ImageNet classes. It needs lite0.pt2, which
../forge-a-pretrained-network/make_model.py writes. The masking network of rt-sal is trained on
IMAGES first. With --quick maps, searches and masking network are cheaper (FEWER, POINTS, SHORT)
and not every method is attacked in every way (ATTACKS): about two hours on one CPU core.
"""

import argparse
import shutil
import subprocess
from pathlib import Path

import pandas as pd

from saliency_audit.stats.claims import (
    Measured,
    claims_markdown,
    claims_table,
    verdict,
)
from saliency_audit.stats.paired import differences

METHODS = {
    "smoothgrad": "SmGrad",
    "integrated-gradients": "IntGrad",
    "gradcam": "GradCam",
    "rt-sal": "RT-Sal",
}
RELEX = "relex"
ATTACKS = {  # with --quick, made against
    "pgd": list(METHODS),  # the prediction, and measured on
    "topk": ["smoothgrad", "integrated-gradients", "gradcam"],
    "structured": ["gradcam", "rt-sal"],
}
FEWER = {
    "pgd": [],
    "topk": ["--steps", "12", "--step-size", "1/255"],
    "structured": ["--steps", "30", "--step-size", "0.003"],
}
POINTS = {
    "integrated-gradients": ["--ig-steps", "5"],
    "smoothgrad": ["--samples", "5"],
    "relex": ["--relex-copies", "2"],
}
PAPER_POINTS = {
    "integrated-gradients": ["--ig-steps", "100"],
    "smoothgrad": ["--samples", "50"],
}
SHORT = ["--selector-steps", "150", "--decoder-steps", "90"]
CURVE = ["--steps", "16"]
CHECKS = {  # the sign that RelEx less the other method has if P2 is right
    "topk-intersection": 1,
    "spearman": 1,
    "retrieval-attacked-attacked": 1,
    "deletion": -1,
}
NOISE = "attack=random;eps=8/255"
OUTPUT = Path("robustness")


def run(command: str, data: str, folder: Path, *options: str) -> pd.DataFrame:
    """The rows of `results.csv` on eight images, whose labels are explained."""
    subprocess.run(
        [
            "saliency-audit", command, "lite0.pt2", "--mean", "0.498", "--std", "0.502",
            "--data", data, "--max-samples", "8", "--scalar", "prob", "--target", "label",
            "--output-dir", str(folder), "--resume", *options,
        ],
        check=True,
    )  # fmt: skip
    return pd.read_csv(folder / "results.csv", keep_default_na=False, na_values=[""])


def flags(option: str, names: list[str]) -> list[str]:
    """One option for several names."""
    return [word for name in names for word in (option, name)]


def attacked(
    data: str, attack: str, methods: list[str], how: list[str], *, full: bool
) -> pd.DataFrame:
    """Maps of clean and attacked images beside each other: rows of one attack."""
    named = flags("--measure", [*methods, RELEX])
    if attack != "pgd":
        named += flags("--saliency", methods)
    return run(
        "attack", data, OUTPUT / attack, "--preset", f"relex-{attack}", "--eps", "8/255",
        "--k", "1000", *named, *how, *([] if full else FEWER[attack]),
    )  # fmt: skip


def as_clean(attack: str, method: str) -> str:
    """A manifest of attacked images by the names of the clean ones, so that maps draw alike."""
    source = OUTPUT / attack / "images"
    found = pd.read_csv(source / "manifest.csv", keep_default_na=False)
    found = found[found["saliency"] == method]
    folder = OUTPUT / "data" / f"{attack}-{method}"
    for made, name in zip(found["path"], found["image"], strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / made, folder / name)
    place = folder / "manifest.csv"
    found.assign(path=found["image"])[["path", "label"]].to_csv(place, index=False)
    return str(place)


def deleted(data: str, name: str, methods: list[str], how: list[str]) -> pd.DataFrame:
    """Deletion of some methods' maps and of those of RelEx."""
    named = flags("--saliency", [*methods, RELEX])
    curve = ["--preset", "p2", "--metric", "deletion", *CURVE]
    return run("evaluate", data, OUTPUT / "deletion" / name, *named, *curve, *how)


def beside(rows: pd.DataFrame, attack: str, methods: list[str]) -> pd.DataFrame:
    """Each method beside RelEx on the same images, with what noise of the same size leaves."""
    means = rows.groupby(["check", "setting", "saliency"])["value"].mean()
    apart = differences(rows, RELEX)
    lines = []
    at = f"attack={attack};eps=8/255"
    for line in apart[apart["saliency"].isin(methods)].itertuples():
        check, setting, own = line.check, line.setting, line.saliency
        of_others = check != "deletion" and setting not in (at, f"{at};attacked={own}")
        if check not in CHECKS or of_others:
            continue
        low, high = -line.difference_high, -line.difference_low
        lines.append(
            {
                "attack": attack,
                "method": own,
                "check": check,
                "value": means[check, setting, own],
                "relex": means[check, setting, RELEX],
                "noise": means.get((check, NOISE, own)),
                "relex_noise": means.get((check, NOISE, RELEX)),
                "difference": -line.difference,
                "ci_low": low,
                "ci_high": high,
                "n": line.n,
                "verdict": verdict(*sorted((CHECKS[check] * low, CHECKS[check] * high))),
            }
        )
    return pd.DataFrame(lines)


def claims(found: pd.DataFrame) -> pd.DataFrame:
    """P2: RelEx is better under attack than the method that is attacked, by each check."""
    rows = []
    measured = found[(found["attack"] != "none") & found["difference"].notna()]
    for line in measured.to_dict("records"):
        sign = CHECKS[line["check"]]
        ends = sorted(sign * line[end] for end in ("ci_low", "ci_high"))
        # Adding zero turns -0 into 0.
        middle, low, high = (end + 0.0 for end in (sign * line["difference"], *ends))
        ours = Measured(middle, low, high, line["n"])
        text = f"{line['attack']}: RelEx better than {METHODS[line['method']]} in {line['check']}"
        rows.append((text, None, ours))
    return claims_table("Figures S1, S2, S8, S9", rows)


def table(found: pd.DataFrame) -> str:
    """Markdown: a line for each attack and method."""
    lines = ["| attack | method | " + " | ".join(CHECKS) + " |", "|---|---|" + "---|" * len(CHECKS)]
    for (attack, method), own in found.groupby(["attack", "method"], sort=False):
        cells = []
        for check in CHECKS:
            here = own[own["check"] == check]
            cells += [
                f"{one.value:.2f}, {one.relex:.2f}: {one.difference:+.2f} "
                f"[{one.ci_low:.2f}, {one.ci_high:.2f}] {one.verdict}"
                for one in here.itertuples()
            ] or [""]
        lines.append(f"| {attack} | {METHODS[method]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Attack, measure, write robustness.csv and robustness-claims.csv, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", help="as --data takes them")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--quick", action="store_true", help="what a CPU does")
    size.add_argument("--full", action="store_true", help="the paper's sizes")
    asked = parser.parse_args()
    data, full = asked.images, asked.full
    every, masker = list(METHODS), str(OUTPUT / "deletion/clean/masker.safetensors")

    def how(methods: list[str]) -> list[str]:
        """Options of some methods and of RelEx."""
        points = PAPER_POINTS if full else POINTS
        words = [word for name in (*methods, RELEX) for word in points.get(name, [])]
        return [*words, *(["--masker", masker] if "rt-sal" in methods else [])]

    trained = ["--train", data, *(["--masker-preset", "paper"] if full else SHORT)]
    words = [*how(every)[:-2], *trained]
    parts = [beside(deleted(data, "clean", every, words), "none", every)]
    for attack, some in ATTACKS.items():
        methods = every if full else some
        rows = attacked(data, attack, methods, how(methods), full=full)
        parts.append(beside(rows, attack, methods))
        # The prediction is attacked once for all methods.
        sets = {"": every} if attack == "pgd" else {name: [name] for name in methods}
        for made, read in sets.items():
            name = f"{attack}-{made}".rstrip("-")
            rows = deleted(as_clean(attack, made), name, read, [*how(read), "--resize", "224"])
            parts.append(beside(rows, attack, read))
    found = pd.concat(parts, ignore_index=True)
    found.to_csv("robustness.csv", index=False, float_format="%.4g")
    judged = claims(found)
    judged.to_csv("robustness-claims.csv", index=False, float_format="%.4g")
    print(f"{table(found)}\n\n{claims_markdown(judged)}")


if __name__ == "__main__":
    main()
