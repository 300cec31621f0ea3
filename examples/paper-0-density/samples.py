"""P0's Table 1: four trainings, and whether a judge sees the class in what each makes of noise.

python samples.py TRAIN TEST --quick|--full [--seeds N] [--device D] [--output DIR]

TRAIN and TEST are written like --data: folders of class folders, or cifar10:DIR@train and
cifar10:DIR. An interrupted run goes on where it stopped.
"""

import argparse
import subprocess
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from PIL import Image

from saliency_audit.stats.claims import Measured, claims_markdown, claims_table, over_trainings

BASELINE = ["--objective", "cross-entropy"]
SOFTPLUS = ["--surrogate", "softplus", "--beta", "10"]
TITLES = {
    "baseline": "baseline",
    "score-matching": "score matching",
    "gradient-norm": "gradient norm",
    "anti-score-matching": "anti score matching",
}
PAPER = {  # per cent, of CIFAR-100 and ResNet-18: accuracy, GAN-test
    "baseline": (78.01, 59.47),
    "score-matching": (72.20, 72.75),
    "gradient-norm": (76.60, 80.07),
    "anti-score-matching": (74.87, 16.40),
}
CHECKS = ("accuracy", "gan-test")
BESIDE = ("gan-test-start", "gan-test-own", "gan-test-judge-accuracy")
ORDER = (  # P0's Table 1 and section 5: check, above, below
    ("gan-test", "gradient-norm", "score-matching"),
    ("gan-test", "gradient-norm", "baseline"),
    ("gan-test", "score-matching", "baseline"),
    ("gan-test", "baseline", "anti-score-matching"),
    ("accuracy", "baseline", "gradient-norm"),
    ("accuracy", "baseline", "score-matching"),
    ("accuracy", "baseline", "anti-score-matching"),
)


@dataclass(frozen=True)
class Size:
    """How much of everything.

    Attributes:
        network: that is trained.
        judge: that judges.
        objectives: options of `finetune` by name.
        recipe: of all four.
        of_judge: its recipe.
        sampling: options of `evaluate`.
    """

    network: str
    judge: str
    objectives: dict[str, list[str]]
    recipe: list[str]
    of_judge: list[str]
    sampling: list[str]


_SGD = ["--optimizer", "sgd", "--momentum", "0.9", "--weight-decay", "5e-4"]
QUICK = Size(
    "networks:small",
    "networks:judge",
    {
        "baseline": BASELINE,
        # After so few steps gradients are short, and P0's strengths do little: these cost about as
        # much accuracy as P0's do there.
        "score-matching": ["--objective", "score-matching", "--weight", "1e-3", "--mu", "1e-3"],
        "gradient-norm": ["--objective", "gradient-norm", "--weight", "1e-2"],
        "anti-score-matching": ["--objective", "anti-score-matching", "--weight", "3e-4"],
    },
    ["--max-train", "5000", "--epochs", "3", "--lr", "0.05", *_SGD, *SOFTPLUS],
    ["--max-train", "10000", "--epochs", "3", "--lr", "0.01", *_SGD, "--surrogate", "none"],
    ["--gan-samples", "100", "--gan-steps", "200", "--max-samples", "1000"],
)
_P0 = ["--epochs", "200", "--train-batch-size", "128", "--lr", "0.1", "--schedule", "step", *_SGD]
FULL = Size(
    "networks:resnet18",
    "networks:wide_judge",
    {
        "baseline": BASELINE,
        "score-matching": ["--preset", "p0"],
        "gradient-norm": ["--preset", "p0-gradient-norm"],
        "anti-score-matching": ["--preset", "p0-anti"],
    },
    [*_P0, "--augment", "flip-crop", *SOFTPLUS],
    [*_P0, "--augment", "flip-crop", "--surrogate", "none"],
    ["--preset", "p0-gan-test", "--max-samples", "10000"],
)


def run(command: str, *words: str) -> bool:
    """One command of the tool, quietly; nothing where it has finished. Whether it has."""
    ran = subprocess.run(
        ["saliency-audit", command, *words, "--channels", "3", "--size", "32", "--resume",
         "--quiet"],
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).parent,
    )  # fmt: skip
    return ran.returncode == 0


def train(
    where: list[str], folder: Path, seed: int, network: str, words: list[str], few: list[str]
) -> bool:
    """One network from random weights; False where its training ended early."""
    print(f"seed {seed}: training {folder.name}", flush=True)
    return run(
        "finetune", "--from-scratch", "--arch", network, *words, *where, *few, "--audit", "none",
        "--seed", str(seed), "--output-dir", str(folder),
    )  # fmt: skip


def beside(folder: Path, made: list[str]) -> list[str]:
    """The networks of a seed for `evaluate`, each under its own name."""
    paths = []
    for name in made:
        paths.append(folder / f"{name}.safetensors")
        paths[-1].unlink(missing_ok=True)
        paths[-1].hardlink_to(folder / name / "model.safetensors")
    first, *others = map(str, paths)
    return [first, *[word for path in others for word in ("--compare", path)]]


def measure(
    test: str, device: str, folder: Path, made: list[str], size: Size, seed: int, few: list[str]
) -> pd.DataFrame:
    """Accuracy and GAN-test of each network of a seed, from the same noise."""
    print(f"seed {seed}: sampling", flush=True)
    report = folder / "samples"
    if not run(
        "evaluate", *beside(folder, made),
        "--arch", size.network, "--data", test, "--metric", "accuracy", "--metric", "gan-test",
        "--judge", str(folder.parent / "judge" / "model.pt2"), *size.sampling, *few,
        "--device", device, "--seed", str(seed), "--output-dir", str(report),
    ):  # fmt: skip
        raise SystemExit("the samples could not be judged; see above")
    found = pd.read_csv(report / "summary.csv")
    found = found[found["check"].isin((*CHECKS, *BESIDE))]
    names = found["model"].str.removesuffix(".safetensors")
    return found.assign(model=names, seed=seed)[
        ["model", "seed", "check", "n", "mean", "ci_low", "ci_high"]
    ]


def table(found: pd.DataFrame) -> str:
    """Markdown: ours beside P0's, with 95 % intervals over seeds, or over images if one seed."""
    lines = [
        "| training | accuracy | P0 (CIFAR-100) | GAN-test | P0 (CIFAR-100) | trainings |",
        "|---|---|---|---|---|---|",
    ]
    for name, title in TITLES.items():
        cells, count = [], 0
        for check, paper in zip(CHECKS, PAPER[name], strict=True):
            own = found[(found["model"] == name) & (found["check"] == check)]
            values, count = [100 * value for value in own["mean"]], len(own)
            if count > 1:
                middle, low, _, _ = over_trainings(values)
                text = f"{middle:.1f} ± {middle - low:.1f}"
            elif count:
                low, high = (100 * float(own[end].iloc[0]) for end in ("ci_low", "ci_high"))
                text = f"{values[0]:.1f} ({low:.1f}-{high:.1f})"
            else:
                text = "-"
            cells += [text, f"{paper:.2f}"]
        lines.append(f"| {title} | {' | '.join(cells)} | {count} |")
    return "\n".join(lines)


def order(found: pd.DataFrame) -> str:
    """The trainings by GAN-test, ours and P0's, and what stands beside it."""
    means = found.groupby(["check", "model"])["mean"].mean()
    ours = sorted(means["gan-test"].index, key=lambda name: -means["gan-test", name])
    theirs = sorted(PAPER, key=lambda name: -PAPER[name][1])
    beside = ", ".join(f"{check} {100 * means[check].mean():.1f} %" for check in BESIDE)
    return f"best first: {', '.join(ours)}\nP0:         {', '.join(theirs)}\nbeside it: {beside}"


def difference(values: pd.DataFrame, above: str, below: str) -> Measured | None:
    """One training less another, paired by seed.

    Args:
        values: a column for each training, a row for each seed; NaN where it ended early.
        above: the one.
        below: the other.

    Returns:
        None where no seed has both.
    """
    own = values.reindex(columns=[above, below]).dropna()
    return over_trainings(own[above] - own[below]) if len(own) else None


def claims(found: pd.DataFrame) -> pd.DataFrame:
    """Whether P0's order holds, pair by pair, over seeds."""
    rows = []
    for check, above, below in ORDER:
        own = found[found["check"] == check].pivot(index="seed", columns="model", values="mean")
        ours = difference(own, above, below)
        if ours is not None:
            place = CHECKS.index(check)
            paper = (PAPER[above][place] - PAPER[below][place]) / 100
            rows.append((f"{check}: {TITLES[above]} above {TITLES[below]}", paper, ours))
    return claims_table("Table 1", rows)


def draw(folder: Path, path: Path) -> None:
    """The first sample of each class and training, as P0's Figure 2, and what the judge says."""
    manifest = pd.read_csv(folder / "manifest.csv")
    names = manifest["model"].str.removesuffix(".safetensors")
    first = manifest.assign(model=names).drop_duplicates(["model", "label"])
    classes = sorted(first["label"].unique())
    picture, grid = plt.subplots(
        len(TITLES), len(classes), figsize=(0.9 * len(classes), 1.1 * len(TITLES) + 0.7),
        squeeze=False, layout="constrained",
    )  # fmt: skip
    picture.suptitle("What each training makes of the same noise, by class", fontsize=10)
    picture.supxlabel("below: the judge's probability of the wanted class", fontsize=8)
    for spot, label in zip(grid[0], classes, strict=True):
        spot.set_title(f"class {label}", fontsize=7)
    for axes, (name, title) in zip(grid, TITLES.items(), strict=True):
        own = first[first["model"] == name].set_index("label")
        axes[0].set_ylabel(title, fontsize=7)
        for spot, label in zip(axes, classes, strict=True):
            spot.set(xticks=[], yticks=[])
            if label in own.index:
                with Image.open(folder / own.loc[label, "path"]) as image:
                    spot.imshow(image, interpolation="nearest")
                spot.set_xlabel(f"{own.loc[label, 'probability']:.2f}", fontsize=7)
    picture.savefig(path, dpi=100)
    plt.close(picture)


def main() -> None:
    """Train, measure, draw, write samples.csv, samples-claims.csv and samples.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", help="training images, written like --data")
    parser.add_argument("test", help="test images, likewise")
    size_of = parser.add_mutually_exclusive_group(required=True)
    size_of.add_argument("--quick", action="store_true", help="small networks, 5,000 images")
    size_of.add_argument("--full", action="store_true", help="ResNet-18, P0's recipe")
    parser.add_argument("--seeds", type=int, choices=range(1, 6), default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, default=Path("samples-runs"))
    parser.add_argument("--max-steps", help="of each training, and of each sample; to try it out")
    options = parser.parse_args()

    size, output = QUICK if options.quick else FULL, options.output.resolve()
    data, test = (
        spec if ":" in spec else str(Path(spec).resolve()) for spec in (options.train, options.test)
    )
    where = ["--data", data, "--val", test, "--max-val", "1000", "--device", options.device]
    steps = options.max_steps
    few = ["--max-steps", steps] if steps else []
    if not train(where, output / "judge", 1000, size.judge, [*BASELINE, *size.of_judge], few):
        raise SystemExit("the judge was not trained; see above")
    parts = []
    for seed in range(options.seeds):
        folder = output / f"seed-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        made = [
            name
            for name, objective in size.objectives.items()
            if train(where, folder / name, seed, size.network, [*objective, *size.recipe], few)
        ]
        less = ["--gan-steps", steps, "--gan-samples", "10"] if steps else []
        parts.append(measure(test, options.device, folder, made, size, seed, less))
    found = pd.concat(parts)
    draw(output / "seed-0" / "samples" / "samples", output / "samples.png")
    found.to_csv(output / "samples.csv", index=False)
    judged = claims(found)
    judged.to_csv(output / "samples-claims.csv", index=False, float_format="%.4g")
    text = f"{table(found)}\n\n{order(found)}\n\n{claims_markdown(judged)}\n"
    (output / "samples.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
