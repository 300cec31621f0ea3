"""P4's Tables 1 to 3: six trainings, and how robust and how steep the networks are.

`mnist.py` and `cifar.py` say what is each data set's own, and run `main` with it.
"""

import argparse
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from saliency_audit.stats.claims import claims_markdown, claims_table, over_trainings

ADV, STD = "teacher: adv", "teacher: std"
NETWORKS = {
    "std": ("Std. Training", ["--objective", "cross-entropy"]),
    "adv": ("Adv. Training", ["--objective", "pgd", "--norm", "l2"]),
    "jacobian": ("Jacobian Reg.", ["--objective", "jacobian", "--reduction", "minibatch"]),
    "interp-r": ("Interp. Reg. R.", ["--objective", "interpretation", ADV]),
    "interp-r-perm": ("Interp. Reg. R. Perm.", ["--objective", "interpretation", ADV, "--permute"]),
    "interp-nr": ("Interp. Reg. N.R.", ["--objective", "interpretation", STD]),
}
CHECKS = ("accuracy", "robust-accuracy", "gradient-norm-target", "gradient-norm-others")
ACCURACY, UNDER_ATTACK, LABEL, _ = CHECKS
CLAIMS = {  # check, what is better and what is worse: above in accuracy, or shorter
    "under attack: Adv. above Interp. R.": (UNDER_ATTACK, "adv", "interp-r"),
    "under attack: Interp. R. above Jacobian": (UNDER_ATTACK, "interp-r", "jacobian"),
    "under attack: Interp. R. above Interp. R. Perm.": (UNDER_ATTACK, "interp-r", "interp-r-perm"),
    "under attack: Interp. R. above Std.": (UNDER_ATTACK, "interp-r", "std"),
    "under attack: Jacobian above Std.": (UNDER_ATTACK, "jacobian", "std"),
    "accuracy: Interp. R. above Jacobian": (ACCURACY, "interp-r", "jacobian"),
    "gradient of the label: Adv. shorter than Std.": (LABEL, "adv", "std"),
    "gradient of the label: Interp. R. shorter than Std.": (LABEL, "interp-r", "std"),
    "gradient of the label: Perm. shorter than Interp. R.": (LABEL, "interp-r-perm", "interp-r"),
}
MEASURED = (CHECKS[:1], CHECKS[1:2], CHECKS[2:])


@dataclass(frozen=True)
class Size:
    """How much is done.

    Attributes:
        network: options that name the network.
        training: of every training.
        objectives: further ones of a network's objective, by name.
        teacher: of the teacher's maps.
        attack_steps: of the measured attack.
        images: most images for each of `MEASURED`.
        seeds: trainings of each network, unless --seeds says otherwise.
        summary: of all this, for --help.
    """

    network: list[str]
    training: list[str]
    objectives: dict[str, list[str]]
    teacher: list[str]
    attack_steps: str
    images: tuple[int, int, int]
    seeds: int
    summary: str


@dataclass(frozen=True)
class Experiment:
    """What one data set has of its own.

    Attributes:
        name: of the files that are written.
        title: of P4's tables.
        kind: of the published files, as `--data` has it.
        eps: of the adversary, an L2 distance in pixel values.
        quick: for a CPU.
        full: P4's.
        paper: P4's number for each of `CHECKS` (accuracies in per cent), by network.
        claims: of this data set alone, like `CLAIMS`.
    """

    name: str
    title: str
    kind: str
    eps: str
    quick: Size
    full: Size
    paper: dict[str, tuple[float | None, ...]]
    claims: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)


def places(kind: str, folder: Path) -> tuple[str, str]:
    """Training and test images as `--data` has them: class folders, or the published files."""
    if (folder / "train").is_dir():
        return str(folder / "train"), str(folder / "test")
    return f"{kind}:{folder}@train", f"{kind}:{folder}"


def run(command: str, size: Size, *words: str) -> None:
    """One command of the tool, on this network and quietly; nothing where it has finished."""
    subprocess.run(
        ["saliency-audit", command, *words, *size.network, "--resume", "--quiet"],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).parent,
    )


def train(of: Experiment, size: Size, images: tuple[str, str], folder: Path, seed: int) -> None:
    """The six networks of one seed, each in a folder of its own."""
    for name, (title, objective) in NETWORKS.items():
        print(f"seed {seed}: training {title}", flush=True)
        words = ["--eps", of.eps] if name == "adv" else []
        for word in objective:
            if word in (ADV, STD):
                teacher = "adv" if word == ADV else "std"
                words += ["--teacher", str(folder / teacher / "model.safetensors"), *size.teacher]
            else:
                words.append(word)
        run(
            "finetune", size, "--from-scratch", *words, *size.objectives.get(name, []),
            *size.training, "--optimizer", "sgd", "--momentum", "0.9", "--schedule", "step",
            "--data", images[0], "--val", images[1], "--max-val", "500",
            "--max-samples", "8", "--audit-eps", of.eps, "--audit-norm", "l2",
            "--seed", str(seed), "--output-dir", str(folder / name),
        )  # fmt: skip


def measure(
    of: Experiment, size: Size, images: tuple[str, str], folder: Path, seed: int
) -> pd.DataFrame:
    """Mean of each check of each network: accuracies on test images, norms on training images."""
    first, *others = [str(folder / f"{name}.safetensors") for name in NETWORKS]
    for name in NETWORKS:
        link = folder / f"{name}.safetensors"
        link.unlink(missing_ok=True)
        link.hardlink_to(folder / name / "model.safetensors")
    attack = ["--eps", of.eps, "--norm", "l2", "--attack-steps", size.attack_steps]
    rows = []
    for checks, most in zip(MEASURED, size.images, strict=True):
        print(f"seed {seed}: measuring {', '.join(checks)}", flush=True)
        report = folder / checks[0]
        run(
            "evaluate", size, first, *[word for path in others for word in ("--compare", path)],
            *[word for check in checks for word in ("--metric", check)],
            *(attack if UNDER_ATTACK in checks else []),
            "--saliency", "gradient", "--target", "label",
            "--data", images[0] if LABEL in checks else images[1],
            "--max-samples", str(most), "--seed", str(seed), "--output-dir", str(report),
        )  # fmt: skip
        rows.append(pd.read_csv(report / "summary.csv"))
    found = pd.concat(rows)
    found = found[found["check"].isin(CHECKS)]
    names = found["model"].str.removesuffix(".safetensors")
    return found.assign(model=names, seed=seed)[
        ["model", "seed", "check", "n", "mean", "ci_low", "ci_high"]
    ]


def per_cent(check: str) -> int:
    """What P4's tables have a share multiplied by; a norm by nothing."""
    return 100 if "accuracy" in check else 1


def papers(of: Experiment, name: str, check: str) -> float | None:
    """P4's number as a share or a norm, like ours; None where it prints none."""
    value = of.paper[name][CHECKS.index(check)]
    return None if value is None else value / per_cent(check)


def table(of: Experiment, found: pd.DataFrame) -> str:
    """Markdown: ours beside P4's, with 95 % intervals over seeds, or over images if one seed."""
    lines = [
        "| network | accuracy | P4 | under attack | P4 | norm, label | P4 | norm, others | P4 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, (title, _) in NETWORKS.items():
        cells = []
        for check, paper in zip(CHECKS, of.paper[name], strict=True):
            own = found[(found["model"] == name) & (found["check"] == check)]
            scale = per_cent(check)
            values = [scale * value for value in own["mean"]]
            if len(values) > 1:
                ours = over_trainings(values)
                cells += [f"{ours.mean:.2f} ± {ours.high - ours.mean:.2f}"]
            else:
                low, high = (scale * float(own[end].iloc[0]) for end in ("ci_low", "ci_high"))
                cells += [f"{values[0]:.2f} ({low:.2f}-{high:.2f})"]
            cells += ["" if paper is None else f"{paper:.2f}"]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def claims(of: Experiment, found: pd.DataFrame) -> pd.DataFrame:
    """P4's orderings, as differences on the same seeds."""
    rows = []
    for text, (check, better, worse) in {**CLAIMS, **of.claims}.items():
        own = found[found["check"] == check].set_index(["model", "seed"])["mean"]
        one, other = (papers(of, name, check) for name in (better, worse))
        sign = 1 if "accuracy" in check else -1  # shorter gradients
        theirs = None if one is None or other is None else sign * (one - other)
        rows.append((text, theirs, over_trainings(sign * (own[better] - own[worse]))))
    return claims_table(of.title, rows)


def main(of: Experiment) -> None:
    """Train, measure, write NAME.csv, NAME-claims.csv and NAME.md."""
    parser = argparse.ArgumentParser(description=f"P4's {of.title} on {of.kind}")
    parser.add_argument(
        "images", type=Path, help="folder of the published files, or with train/ and test/"
    )
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--quick", action="store_true", help=of.quick.summary)
    choice.add_argument("--full", action="store_true", help=of.full.summary)
    parser.add_argument(
        "--seeds",
        type=int,
        choices=range(1, 6),
        help=f"default {of.full.seeds}, quick {of.quick.seeds}",
    )
    parser.add_argument("--output", type=Path, default=Path(of.name))
    asked = parser.parse_args()

    images = places(of.kind, asked.images.resolve())
    size = of.quick if asked.quick else of.full
    output = asked.output.resolve()
    parts = []
    for seed in range(asked.seeds or size.seeds):
        folder = output / f"seed-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        train(of, size, images, folder, seed)
        parts.append(measure(of, size, images, folder, seed))
    found = pd.concat(parts)
    found["p4"] = [
        papers(of, name, check) for name, check in zip(found["model"], found["check"], strict=True)
    ]
    found.to_csv(output / f"{of.name}.csv", index=False)
    judged = claims(of, found)
    judged.to_csv(output / f"{of.name}-claims.csv", index=False, float_format="%.4g")
    text = f"{table(of, found)}\n\n{claims_markdown(judged)}"
    (output / f"{of.name}.md").write_text(text + "\n")
    print(text)
