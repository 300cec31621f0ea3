"""P4's MNIST experiment: six trainings, and how robust and how steep the networks are.

python mnist.py MNIST (--quick | --full) [--seeds N] [--output DIR]

MNIST is a folder with the four files of MNIST. An interrupted run goes on where it stopped.
"""

import argparse
import subprocess
from pathlib import Path

import pandas as pd

from saliency_audit.stats.claims import claims_markdown, claims_table, over_trainings

ADV, STD = "teacher: adv", "teacher: std"
NETWORKS = {
    "std": ("Std. Training", ["--objective", "cross-entropy"]),
    "adv": ("Adv. Training", ["--objective", "pgd", "--eps", "1.5", "--norm", "l2"]),
    "jacobian": ("Jacobian Reg.", ["--objective", "jacobian", "--reduction", "minibatch"]),
    "interp-r": ("Interp. Reg. R.", ["--objective", "interpretation", ADV]),
    "interp-r-perm": ("Interp. Reg. R. Perm.", ["--objective", "interpretation", ADV, "--permute"]),
    "interp-nr": ("Interp. Reg. N.R.", ["--objective", "interpretation", STD]),
}
FULL = {  # P4's weights; it does not print Jacobian's, chosen for an equal final loss
    "adv": ["--steps", "40"],
    "jacobian": ["--weight", "0.025"],
    "interp-r": ["--weight", "0.07"],
    "interp-r-perm": ["--weight", "0.05"],
    "interp-nr": ["--weight", "0.33"],
}
QUICK = {  # see mnist.md
    "adv": ["--steps", "7"],
    "jacobian": ["--weight", "0.04"],
    "interp-r": ["--weight", "0.15"],
    "interp-r-perm": ["--weight", "0.07"],
    "interp-nr": ["--weight", "0.1"],
}
CHECKS = ("accuracy", "robust-accuracy", "gradient-norm-target", "gradient-norm-others")
PAPER = {  # Tables 1 (per cent) and 3
    "std": (99.38, 61.05, 7.43, 3.93),
    "adv": (99.29, 90.21, 2.48, 1.47),
    "jacobian": (99.13, 82.86, 1.69, 0.68),
    "interp-r": (99.15, 85.17, 1.72, 1.19),
    "interp-r-perm": (99.12, 80.83, 0.85, 1.67),
    "interp-nr": (99.13, 60.96, 5.45, 2.37),
}
UNDER_ATTACK, LABEL = CHECKS[1], CHECKS[2]
CLAIMS = {
    "under attack: Adv. above Interp. R.": (UNDER_ATTACK, "adv", "interp-r"),
    "under attack: Interp. R. above Jacobian": (UNDER_ATTACK, "interp-r", "jacobian"),
    "under attack: Interp. R. above Interp. R. Perm.": (UNDER_ATTACK, "interp-r", "interp-r-perm"),
    "under attack: Interp. R. above Std.": (UNDER_ATTACK, "interp-r", "std"),
    "under attack: Jacobian above Std.": (UNDER_ATTACK, "jacobian", "std"),
    "accuracy: Interp. R. above Jacobian": (CHECKS[0], "interp-r", "jacobian"),
    "gradient of the label: Adv. shorter than Std.": (LABEL, "adv", "std"),
    "gradient of the label: Interp. R. shorter than Std.": (LABEL, "interp-r", "std"),
    "gradient of the label: Perm. shorter than Interp. R.": (LABEL, "interp-r-perm", "interp-r"),
}


def run(command: str, *words: str) -> None:
    """One command of the tool, on this network and quietly; nothing where it has finished."""
    subprocess.run(
        [
            "saliency-audit", command, *words, "--arch", "mnist_cnn:MnistCnn",
            "--channels", "1", "--size", "28", "--resume", "--quiet",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).parent,
    )  # fmt: skip


def train(data: str, folder: Path, seed: int, *, quick: bool) -> None:
    """The six networks of one seed, each in a folder of its own."""
    few = ["--max-train", "5000", "--epochs", "8", "--lr", "0.03"]
    size = few if quick else ["--epochs", "20", "--lr", "0.01"]
    for name, (title, objective) in NETWORKS.items():
        print(f"seed {seed}: training {title}", flush=True)
        words: list[str] = []
        for word in objective:
            if word in (ADV, STD):
                teacher = "adv" if word == ADV else "std"
                words += ["--teacher", str(folder / teacher / "model.safetensors")]
                words += ["--teacher-samples", "10"] if quick else []
            else:
                words.append(word)
        run(
            "finetune", "--from-scratch", *words, *(QUICK if quick else FULL).get(name, []),
            *size, "--optimizer", "sgd", "--momentum", "0.9", "--schedule", "step",
            "--train-batch-size", "64", "--data", f"{data}@train", "--val", data,
            "--max-val", "500", "--max-samples", "8", "--audit-eps", "1.5", "--audit-norm", "l2",
            "--seed", str(seed), "--output-dir", str(folder / name),
        )  # fmt: skip


def measure(data: str, folder: Path, seed: int, *, quick: bool) -> pd.DataFrame:
    """Mean of each check of each network: accuracies on test images, norms on training images."""
    first, *others = [str(folder / f"{name}.safetensors") for name in NETWORKS]
    for name in NETWORKS:
        link = folder / f"{name}.safetensors"
        link.unlink(missing_ok=True)
        link.hardlink_to(folder / name / "model.safetensors")
    rows = []
    attack = ["--eps", "1.5", "--norm", "l2", "--attack-steps", "20" if quick else "40"]
    for checks, options, images in (
        (CHECKS[:1], [], (data, 10_000, 10_000)),
        (CHECKS[1:2], attack, (data, 1000, 10_000)),
        (CHECKS[2:], [], (f"{data}@train", 1000, 60_000)),
    ):
        where, few, many = images
        report = folder / checks[0]
        print(f"seed {seed}: measuring {', '.join(checks)}", flush=True)
        run(
            "evaluate", first, *[word for path in others for word in ("--compare", path)],
            *[word for check in checks for word in ("--metric", check)], *options,
            "--saliency", "gradient", "--target", "label", "--data", where,
            "--max-samples", str(few if quick else many), "--seed", str(seed),
            "--output-dir", str(report),
        )  # fmt: skip
        rows.append(pd.read_csv(report / "summary.csv"))
    found = pd.concat(rows)
    found = found[found["check"].isin(CHECKS)]
    names = found["model"].str.removesuffix(".safetensors")
    return found.assign(model=names, seed=seed)[
        ["model", "seed", "check", "n", "mean", "ci_low", "ci_high"]
    ]


def table(found: pd.DataFrame) -> str:
    """Markdown: ours beside P4's, with 95 % intervals over seeds, or over images if one seed."""
    lines = [
        "| network | accuracy | P4 | under attack | P4 | norm, label | P4 | norm, others | P4 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, (title, _) in NETWORKS.items():
        cells = []
        for check, paper in zip(CHECKS, PAPER[name], strict=True):
            own = found[(found["model"] == name) & (found["check"] == check)]
            scale = 100 if "accuracy" in check else 1
            values = [scale * value for value in own["mean"]]
            if len(values) > 1:
                ours = over_trainings(values)
                cells += [f"{ours.mean:.2f} ± {ours.high - ours.mean:.2f}"]
            else:
                low, high = (scale * float(own[end].iloc[0]) for end in ("ci_low", "ci_high"))
                cells += [f"{values[0]:.2f} ({low:.2f}-{high:.2f})"]
            cells += [f"{paper:.2f}"]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def claims(found: pd.DataFrame) -> pd.DataFrame:
    """P4's orderings of Tables 1 and 3, as differences on the same seeds."""
    rows = []
    for text, (check, better, worse) in CLAIMS.items():
        own = found[found["check"] == check].set_index(["model", "seed"])["mean"]
        place, scale = CHECKS.index(check), 100 if "accuracy" in check else 1
        theirs = (PAPER[better][place] - PAPER[worse][place]) / scale
        sign = 1 if "accuracy" in check else -1  # shorter gradients
        rows.append((text, sign * theirs, over_trainings(sign * (own[better] - own[worse]))))
    return claims_table("Tables 1, 3", rows)


def main() -> None:
    """Train, measure, write mnist.csv, mnist-claims.csv and mnist.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mnist", type=Path, help="folder with the four files of MNIST")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--quick", action="store_true", help="5,000 images, 8 epochs, one seed")
    size.add_argument("--full", action="store_true", help="60,000 images, 20 epochs, five seeds")
    parser.add_argument("--seeds", type=int, choices=range(1, 6), help="default 5, quick 1")
    parser.add_argument("--output", type=Path, default=Path("mnist"))
    options = parser.parse_args()

    data, quick = f"mnist:{options.mnist.resolve()}", options.quick
    output = options.output.resolve()
    seeds = options.seeds or (1 if quick else 5)
    parts = []
    for seed in range(seeds):
        folder = output / f"seed-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        train(data, folder, seed, quick=quick)
        parts.append(measure(data, folder, seed, quick=quick))
    found = pd.concat(parts)
    paper = {  # as shares, like ours
        (name, check): value / 100 if "accuracy" in check else value
        for name, values in PAPER.items()
        for check, value in zip(CHECKS, values, strict=True)
    }
    found["p4"] = [paper[key] for key in zip(found["model"], found["check"], strict=True)]
    found.to_csv(output / "mnist.csv", index=False)
    judged = claims(found)
    judged.to_csv(output / "mnist-claims.csv", index=False, float_format="%.4g")
    text = f"{table(found)}\n\n{claims_markdown(judged)}"
    (output / "mnist.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
