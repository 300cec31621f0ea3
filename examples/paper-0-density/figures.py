"""P0's Figures 1 and 5: what noise and missing pixels do to the networks of samples.py.

python figures.py TEST (--quick | --full) [--seeds N] [--device D] [--output DIR]

TEST and DIR are those of samples.py, which has left the networks in DIR. Figure 5a: the least
salient pixels by each network's own gradient go, and its accuracy is asked. Figure 5b: the same
pixels, and the accuracy of the baseline. Figure 1: the density that a network implies for a noisy
image, over that for the image.
"""

import argparse
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from samples import FULL, QUICK, TITLES, Size, beside, difference, run

from saliency_audit.stats.claims import claims_markdown, claims_table, over_trainings

OWN, CROSS, DENSITY = "5a", "5b", "1"
SIGMAS = (0.05, 0.1, 0.2, 0.3, 0.5)
SMALL, LARGE = 0.1, 0.3  # P0 says "smaller noise" and "larger amounts of noise"
BETTER = (  # above, below
    ("score-matching", "baseline"),
    ("gradient-norm", "baseline"),
    ("baseline", "anti-score-matching"),
)
COLUMNS = ["figure", "training", "map", "quantity", "x", "seed", "value"]
ACCURACY, AREA, RATIO = "accuracy", "area", "log of the mean density ratio"
COLOURS = dict(zip(TITLES, ("#222222", "#0072b2", "#009e73", "#d55e00"), strict=True))


def measure(
    test: str, device: str, folder: Path, seed: int, size: Size, images: int
) -> pd.DataFrame:
    """All three figures of one seed, `COLUMNS`."""
    print(f"seed {seed}: pixels and noise", flush=True)
    made = [name for name in TITLES if (folder / name / "model.safetensors").is_file()]
    judge = ["--judge", str(folder / "baseline" / "model.pt2")]
    noise = [word for sigma in SIGMAS for word in ("--sigma", str(sigma))]
    parts = []
    for figure, words in (
        (OWN, ["--metric", "density-profile", *noise]),
        (CROSS, judge if "baseline" in made else []),
    ):
        report = folder / f"figure-{figure}"
        if not run(
            "evaluate", *beside(folder, made), "--arch", size.network, "--data", test,
            "--metric", "discriminative", *words, "--preset", "p0", "--saliency", "gradient",
            "--target", "label", "--max-samples", str(images), "--device", device,
            "--seed", str(seed), "--output-dir", str(report),
        ):  # fmt: skip
            raise SystemExit("nothing was measured; see above")
        parts.append(read(report).assign(figure=figure, seed=seed))
    found = pd.concat(parts)
    found.loc[found["quantity"] == RATIO, "figure"] = DENSITY
    return found[COLUMNS]


def read(report: Path) -> pd.DataFrame:
    """Curves and areas of a report, of gradients and random maps; density ratios have no map."""
    curves, summary = pd.read_csv(report / "curves.csv"), pd.read_csv(report / "summary.csv")
    accuracy = curves[curves["check"] == "discriminative"].assign(quantity=ACCURACY)
    area = summary[summary["check"] == "discriminative"].assign(quantity=AREA)
    ratio = summary[summary["check"] == "density-profile-log-mean"].assign(quantity=RATIO)
    ratio["x"] = ratio["setting"].str.removeprefix("sigma=").astype(float)
    found = pd.concat([accuracy, area, ratio]).rename(columns={"saliency": "map", "mean": "value"})
    found = found[found["map"] != "sobel"]
    return found.assign(training=found["model"].str.removesuffix(".safetensors"))


def over_seeds(found: pd.DataFrame) -> pd.DataFrame:
    """Means over trainings with Student's intervals: `COLUMNS`, less the seed."""
    keys = [name for name in COLUMNS if name not in ("seed", "value")]
    rows = [
        (*key, *over_trainings(own["value"]))
        for key, own in found.groupby(keys, sort=False, dropna=False)
    ]
    return pd.DataFrame(rows, columns=[*keys, "mean", "ci_low", "ci_high", "n"])


def claims(found: pd.DataFrame) -> pd.DataFrame:
    """P0's claims on both parts of Figure 5 and on Figure 1, paired by seed."""
    gradient, rows = found[found["map"] == "gradient"], []
    for figure, where in ((OWN, "its own model"), (CROSS, "the baseline")):
        own = gradient[(gradient["figure"] == figure) & (gradient["quantity"] == AREA)]
        values = own.pivot(index="seed", columns="training", values="value")
        for above, below in BETTER:
            text = f"area on {where}: {TITLES[above]} above {TITLES[below]}"
            rows.append((f"Figure {figure}", text, difference(values, above, below)))
    density = found[found["figure"] == DENSITY]
    at = {
        sigma: density[density["x"] == sigma].pivot(
            index="seed", columns="training", values="value"
        )
        for sigma in (SMALL, LARGE)
    }
    of_baseline = over_trainings(at[LARGE]["baseline"])
    text = f"the baseline gives noisy images ({LARGE}) a higher density"
    rows.append(("Figure 1", text, of_baseline))
    for above, below, sigma in (
        ("anti-score-matching", "baseline", SMALL),
        ("baseline", "score-matching", LARGE),
        ("baseline", "gradient-norm", LARGE),
    ):
        text = f"density ratio at {sigma}: {TITLES[above]} above {TITLES[below]}"
        rows.append(("Figure 1", text, difference(at[sigma], above, below)))
    return pd.concat(
        claims_table(figure, [(text, None, ours)]) for figure, text, ours in rows if ours
    )


def draw(
    means: pd.DataFrame, figure: str, path: Path, *, title: str, x: str, y: str, quantity: str
) -> None:
    """One figure: a line for each training, and the baseline's random pixels if there are any."""
    picture, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    shown = means[(means["figure"] == figure) & (means["quantity"] == quantity)]
    lines: list[tuple[pd.DataFrame, dict[str, Any]]] = [
        (
            shown[(shown["training"] == name) & (shown["map"] != "random")],
            {"color": COLOURS[name], "label": TITLES[name]},
        )
        for name in TITLES
    ]
    random = shown[(shown["training"] == "baseline") & (shown["map"] == "random")]
    lines.append((random, {"color": "#888888", "label": "baseline, random pixels", "ls": "--"}))
    for own, look in lines:
        if len(own):
            axes.plot(own["x"], own["mean"], marker="o", markersize=3, linewidth=1.4, **look)
            axes.fill_between(
                own["x"], own["ci_low"], own["ci_high"], color=look["color"], alpha=0.1, linewidth=0
            )
    if quantity == RATIO:
        axes.axhline(0, color="#888888", linewidth=0.8)
    axes.set(xlabel=x, ylabel=y)
    axes.set_title(title, fontsize=10, loc="left")
    axes.grid(color="#e4e4e6", linewidth=0.6)
    axes.legend(frameon=False, fontsize=8)
    picture.savefig(path, dpi=110)
    plt.close(picture)


def main() -> None:
    """Measure, draw, write figures.csv, figures-claims.csv and figures.md, and print the latter."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("test", help="test images, written like --data")
    size_of = parser.add_mutually_exclusive_group(required=True)
    size_of.add_argument("--quick", action="store_true", help="200 images")
    size_of.add_argument("--full", action="store_true", help="10,000 images")
    parser.add_argument("--seeds", type=int, choices=range(1, 6), default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, default=Path("samples-runs"))
    options = parser.parse_args()

    size, images = (QUICK, 200) if options.quick else (FULL, 10000)
    output = options.output.resolve()
    test = options.test if ":" in options.test else str(Path(options.test).resolve())
    found = pd.concat(
        measure(test, options.device, output / f"seed-{seed}", seed, size, images)
        for seed in range(options.seeds)
    )
    means = over_seeds(found)
    means.to_csv(output / "figures.csv", index=False, float_format="%.4g")
    many = f"mean and 95 % of {options.seeds} trainings, {images:,} images"
    gone, right = "share of the pixels replaced, least salient first", "accuracy"
    draw(
        means, OWN, output / "discriminative.png", quantity=ACCURACY, x=gone, y=right,
        title=f"P0 Figure 5a: each network by its own gradient\n{many}",
    )  # fmt: skip
    draw(
        means, CROSS, output / "cross-model.png", quantity=ACCURACY, x=gone, y=right,
        title=f"P0 Figure 5b: the baseline by each network's gradient\n{many}",
    )  # fmt: skip
    draw(
        means, DENSITY, output / "density.png", quantity=RATIO,
        x="standard deviation of the noise, pixels in [0, 1]", y=f"{RATIO}, nats",
        title=f"P0 Figure 1: density of noisy images over that of images\n{many}",
    )  # fmt: skip
    judged = claims(found)
    judged.to_csv(output / "figures-claims.csv", index=False, float_format="%.4g")
    (output / "figures.md").write_text(claims_markdown(judged) + "\n")
    print(claims_markdown(judged))


if __name__ == "__main__":
    main()
