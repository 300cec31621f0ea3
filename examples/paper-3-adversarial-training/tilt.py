"""P3's Figure 3b: does adversarial training remove the tilt of a decision boundary?

python tilt.py (--quick | --full) [--output DIR]

An interrupted run goes on where it stopped.
"""

import argparse
import subprocess
import sys
from math import log, sqrt
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from networks import ToyMlp
from PIL import Image
from safetensors.torch import load_file

from saliency_audit.data.tilting import COVARIANCE, MEANS, gaussians, unit_points
from saliency_audit.stats.claims import claims_markdown, claims_table, over_trainings

# Points are in [0, 1] here and in [-1, 1] in P3, so that its budgets are halved.
WEAK, STRONG, VIEWED = 0.25 / 2, 0.5 / 2, 1 / 2
ADAM = ["--optimizer", "adam", "--lr", "0.001", "--train-batch-size", "100"]
NETWORKS = {
    "standard": ("standard training", ["--objective", "cross-entropy", *ADAM]),
    "weak": ("adversarial, weak (0.25)", ["--preset", "p3-l2", "--eps", str(WEAK)]),
    "strong": ("adversarial, strong (0.5)", ["--preset", "p3-l2", "--eps", str(STRONG)]),
}
NUMBERS = {
    "accuracy": "accuracy",
    "tilt": "tilt of the boundary, degrees",
    "step_tilt": "tilt of the adversary's step, degrees",
    "distance": "attacked points to the other class",
}
CLAIMS = {
    "standard": ("plain training: tilted, and attacked points leave the data", "standard", None),
    "weak": ("adversarial training: less of it", "standard", "weak"),
    "strong": ("a stronger adversary: still less", "weak", "strong"),
}
# What would be no tilt, and the median distance of a class's own points.
NOTHING = {"tilt": 0.0, "step_tilt": 0.0, "distance": sqrt(2 * log(2))}


def run(command: str, *words: str) -> None:
    """One command of the tool on a network of points, quietly; nothing where it has finished."""
    subprocess.run(
        [
            sys.executable, "-m", "saliency_audit", command, *words, "--arch", "networks:ToyMlp",
            "--channels", "1", "--size", "1,2", "--mean", "0.5", "--std", "0.5",
            "--resume", "--quiet",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).parent,
    )  # fmt: skip


def train(folder: Path, seed: int) -> None:
    """The three networks of one seed, of points of their own, and points that PGD moved."""
    data = f"toy:boundary-tilting:seed={seed}"
    for name, (title, objective) in NETWORKS.items():
        print(f"seed {seed}: {title}", flush=True)
        run(
            "finetune", "--from-scratch", *objective, "--epochs", "10", "--audit", "none",
            "--data", data, "--seed", str(seed), "--output-dir", str(folder / name),
        )  # fmt: skip
        run(
            "attack", str(folder / name / "model.safetensors"), "--preset", "p3-pgd",
            "--eps", str(VIEWED), "--data", data, "--seed", str(seed), "--max-samples", "200",
            "--output-dir", str(folder / name / "attack"),
        )  # fmt: skip


def network(folder: Path) -> ToyMlp:
    """A trained network; it takes points in [-1, 1]."""
    model = ToyMlp()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval()


def margin(model: ToyMlp, points: torch.Tensor) -> torch.Tensor:
    """By how much the logit of class 0 is the larger one."""
    logits = model(points)
    return logits[:, 0] - logits[:, 1]


def angle(vector: np.ndarray) -> float:
    """Degrees from the line through the two means, whichever way it points, up to 90."""
    between = np.subtract(*MEANS)
    cosine = abs(vector @ between) / np.linalg.norm(vector) / np.linalg.norm(between)
    return float(np.degrees(np.arccos(min(cosine, 1))))


def best() -> float:
    """Tilt of the best boundary for these Gaussians, in closed form."""
    return angle(np.linalg.solve(COVARIANCE, np.subtract(*MEANS)))


def tilt(model: ToyMlp, points: np.ndarray, labels: np.ndarray) -> float:
    """Mean direction of the boundary's normal, where lines between points of both classes cross it.

    One line for each pair of a point of class 0 and the next one of class 1; where it crosses is
    found by halving.
    """
    seen = torch.from_numpy(2 * points - 1).float()
    here, there = seen[labels == 0], seen[labels == 1]
    for _ in range(30):
        middle = (here + there) / 2
        first = (margin(model, middle) > 0)[:, None]
        here, there = torch.where(first, middle, here), torch.where(first, there, middle)
    middle = ((here + there) / 2).detach().requires_grad_()
    (normals,) = torch.autograd.grad(margin(model, middle).sum(), middle)
    return angle(torch.nn.functional.normalize(normals).mean(0).double().numpy())


def attacked(folder: Path, points: np.ndarray) -> pd.DataFrame:
    """Points that PGD moved, x and y, where they were, from_x and from_y, and their label."""
    images = folder / "attack" / "images"
    manifest = pd.read_csv(images / "manifest.csv")
    moved = np.array([np.asarray(Image.open(images / path))[0] / 255 for path in manifest["path"]])
    places = manifest["image"].str.removeprefix("test/").astype(int)
    found = pd.DataFrame(np.hstack([moved, points[places]]), columns=["x", "y", "from_x", "from_y"])
    return found.assign(label=manifest["label"])


def measure(folder: Path, seed: int) -> pd.DataFrame:
    """A row for each network of one seed."""
    points, labels = unit_points(2000, seed=seed, split="test")
    raw = gaussians(6000, seed=seed)[0]
    factor = raw.max() - raw.min()
    inverse = np.linalg.inv(COVARIANCE)
    rows = []
    for name in NETWORKS:
        model = network(folder / name)
        seen = torch.from_numpy(2 * points - 1).float()
        right = (margin(model, seen) > 0).numpy() == (labels == 0)
        moved = attacked(folder / name, points)
        # In P3's picture points of one class are attacked; here all, turned to one side.
        sign = np.where(moved["label"] == 0, 1, -1)[:, None]
        step = (
            sign * (moved[["x", "y"]].to_numpy() - moved[["from_x", "from_y"]].to_numpy())
        ).mean(0)
        others = np.array(MEANS)[1 - moved["label"].to_numpy()]
        away = moved[["x", "y"]].to_numpy() * factor + raw.min() - others
        distance = np.sqrt(np.einsum("ni,ij,nj->n", away, inverse, away))
        rows.append(
            (
                name,
                seed,
                right.mean(),
                tilt(model, points, labels),
                angle(step),
                np.median(distance),
            )
        )
    return pd.DataFrame(rows, columns=["network", "seed", *NUMBERS])


def table(found: pd.DataFrame) -> str:
    """The numbers of the networks, means over the seeds with half of the interval, as Markdown."""
    by = dict(iter(found.groupby("network")))
    lines = [f"| network | {' | '.join(NUMBERS.values())} |", "|---" * 5 + "|"]
    for name, (title, _) in NETWORKS.items():
        cells = []
        for number in NUMBERS:
            ours = over_trainings(by[name][number])
            digits = 3 if number == "accuracy" else 1
            cells.append(f"{ours.mean:.{digits}f} ± {ours.high - ours.mean:.{digits}f}")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def claims(found: pd.DataFrame) -> pd.DataFrame:
    """P3's claims, as differences on the same seeds."""
    by = {name: own.sort_values("seed") for name, own in found.groupby("network")}
    rows = []
    for claim, first, second in CLAIMS.values():
        for number, nothing in NOTHING.items():
            own = by[first][number].to_numpy()
            other = nothing if second is None else by[second][number].to_numpy()
            rows.append((f"{claim}: {NUMBERS[number]}", None, over_trainings(own - other)))
    return claims_table("Figure 3b", rows)


def draw(folder: Path, seed: int, path: Path) -> None:
    """The data, and for each network its boundary with the points that PGD moved, as Figure 3b."""
    points, labels = unit_points(2000, seed=seed, split="test")
    side = torch.linspace(0, 1, 401)
    down, across = torch.meshgrid(side, side, indexing="ij")
    grid = 2 * torch.stack([across.flatten(), down.flatten()], 1) - 1
    figure, axes = plt.subplots(1, 3, figsize=(12, 4.4), sharey=True, layout="constrained")
    for axis, (name, (title, _)) in zip(axes, NETWORKS.items(), strict=True):
        model = network(folder / name)
        with torch.no_grad():
            where = (margin(model, grid) > 0).view(401, 401).numpy()
        axis.contourf(side, side, where, levels=[-0.5, 0.5, 1.5], colors=["#f6d5d0", "#d3e0f2"])
        for label, colour in ((0, "#2c5aa0"), (1, "#b5483a")):
            own = points[labels == label]
            axis.plot(*own.T, ".", ms=1.5, color=colour, label=f"class {label}")
        moved = attacked(folder / name, points)
        own = moved[moved["label"] == 0]
        axis.plot(own["x"], own["y"], "x", ms=3, color="black", label="class 0, attacked")
        axis.annotate(
            "",
            own[["x", "y"]].mean(),
            own[["from_x", "from_y"]].mean(),
            arrowprops={"arrowstyle": "-|>", "lw": 1.5},
        )
        axis.set(title=f"{title}: {tilt(model, points, labels):.0f}°", xlim=(0, 1), ylim=(0, 1))
        axis.set_aspect("equal")
    axes[0].legend(loc="lower left", markerscale=2, fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Train, measure, write tilt.csv, tilt-claims.csv, tilt.md and boundary.png."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--quick", action="store_true", help="three seeds")
    size.add_argument("--full", action="store_true", help="ten seeds")
    parser.add_argument("--output", type=Path, default=Path("tilting"))
    options = parser.parse_args()
    output, parts = options.output.resolve(), []
    for seed in range(3 if options.quick else 10):
        train(output / f"seed-{seed}", seed)
        parts.append(measure(output / f"seed-{seed}", seed))
    found = pd.concat(parts)
    found.round(4).to_csv(output / "tilt.csv", index=False)
    judged = claims(found)
    judged.to_csv(output / "tilt-claims.csv", index=False, float_format="%.4g")
    text = f"{table(found)}\n\n{claims_markdown(judged)}"
    (output / "tilt.md").write_text(text + "\n")
    draw(output / "seed-0", 0, output / "boundary.png")
    print(f"{text}\n\nbest boundary without an adversary: {best():.1f} degrees")


if __name__ == "__main__":
    main()
