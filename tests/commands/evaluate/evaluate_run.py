"""A run of evaluate as its report gets it: summary, verdicts, curves, pictures. All invented."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from saliency_audit.catalogue.entries import Check
from saliency_audit.stats.paired import between_models, differences, relative_drop
from saliency_audit.stats.summary import summarise
from saliency_audit.types import COLUMNS, Example
from tests.commands.attack.attack_run import blobs

CONTROLS = ("random", "sobel")
WORDS = {
    "better than random": "tells something",
    "not distinguishable": "is not shown to tell anything",
    "worse": "misleads",
    "undefined": "no number",
}
BETTER = {
    "discriminative": True,
    "deletion": False,
    "preservation": True,
    "insertion": True,
    "deletion-gap": True,
    "aopc": True,
    "density-perturbation": True,
    "sanity-cascade": False,
    "sanity-independent": False,
    "stability": True,
    "gaze-overlap": True,
    "infidelity": False,
    "accuracy": True,
    "density-profile": False,
}
SIGNED = ("deletion-gap", "aopc", "sanity-cascade", "sanity-independent")
CHECKS = {
    name: Check(
        None,
        f"what {name} is",
        better,
        (-np.inf, np.inf) if "density" in name else (-1, 1) if name in SIGNED else (0, 1),
        "someone (2020)",
        {"accuracy": "1/classes", "gaze-overlap": "top", "sanity-cascade": "0"}.get(name, ""),
    )
    for name, better in BETTER.items()
}
for _suffix in ("signed", "ssim", "hog", "map-norm", "logit-spread"):
    CHECKS[f"sanity-cascade-{_suffix}"] = Check(None, _suffix, None, (-1, 1), "someone (2020)")
CURVES = ("discriminative", "deletion", "preservation", "insertion", "deletion-gap")
LAYERS = 9


@dataclass
class EvaluateRun:
    results: pd.DataFrame
    summary: pd.DataFrame
    verdicts: pd.DataFrame
    curves: pd.DataFrame
    examples: list
    compared: pd.DataFrame | None
    drops: pd.DataFrame | None


def evaluate_run(
    *,
    images=("a.png", "b.png", "c.png", "d.png"),
    methods=("gradient", "smoothgrad"),
    metrics=("deletion", "preservation", "sanity-cascade"),
    models=("net",),
    of_model=("accuracy",),
    failed=(),
    undefined=(),
    base=None,
    side=28,
    colours=1,
):
    """Maps of ``methods`` judged by ``metrics``.

    Args:
        images: names.
        methods: without the controls.
        metrics: of maps.
        models: names.
        of_model: checks of the model alone.
        failed: pairs of method and metric.
        undefined: metrics without any value.
        base: of relative drops.
        side: of the pictures.
        colours: of the images.
    """
    rng = np.random.default_rng(0)
    rows = []
    everyone = (*methods, *CONTROLS)

    def measure(model, saliency, check, setting, values):
        scalar = "" if saliency in ("", *CONTROLS) else "logit"
        for image, value in zip(images, values, strict=True):
            status = "ok" if np.isfinite(value) else "undefined"
            status = "error" if setting.startswith("reason=") else status
            rows.append((image, 3, 3, model, saliency, scalar, check, setting, value, status))

    def values(saliency, check, quality):
        centre = {"random": 0.3, "sobel": 0.35}.get(saliency, 0.3 + quality)
        scale = 1e-3 if check == "infidelity" else 1.0
        sign = 1 if BETTER.get(check) else -1
        found = scale * np.clip(
            0.5 + sign * (centre - 0.3) + rng.normal(0, 0.05, len(images)), 0, 1
        )
        if check in undefined or (saliency == methods[0] and len(images) > 3 and check == "aopc"):
            found[: None if check in undefined else 1] = np.nan
        return found

    for m, model in enumerate(models):
        for check in of_model:
            measure(model, "", check, "", (rng.random(len(images)) < 0.8 - 0.2 * m).astype(float))
        for i, saliency in enumerate(everyone):
            for check in metrics:
                quality = 0.4 - 0.9 * i / len(everyone) - 0.05 * m
                if (saliency, check) in failed:
                    reason = "reason=UnsupportedError: no layer to explain by was found in the net"
                    measure(model, saliency, check, reason, np.full(len(images), np.nan))
                elif check == "aopc":
                    for count in (20, 50, 100):
                        setting = f"regions={count};unit=region;fill=noise"
                        measure(model, saliency, check, setting, values(saliency, check, quality))
                elif check == "sanity-cascade":
                    for x in (3, 6, LAYERS):
                        stage = "all" if x == LAYERS else f"{x}/{LAYERS}"
                        left = left_of(saliency, i, x) + rng.normal(0, 0.03, len(images))
                        measure(model, saliency, check, f"randomised={stage};draws=2", left)
                else:
                    setting = "steps=32;fill=model-mean;reduce=mean"
                    measure(model, saliency, check, setting, values(saliency, check, quality))
    results = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"value": float})
    summary = summarise(
        results,
        higher_is_better={name: check.higher_is_better for name, check in CHECKS.items()},
        chance={"accuracy": 0.1},
        resamples=200,
    )
    return EvaluateRun(
        results,
        summary,
        verdicts_of(summary, differences(results, resamples=200)),
        curves_of(rng, models, everyone, metrics, of_model, undefined, failed, len(images)),
        examples_of(rng, images, everyone, metrics, side, colours),
        between_models(results, resamples=200) if len(models) > 1 else None,
        relative_drop(results, base, resamples=200) if base else None,
    )


def left_of(saliency, i, x):
    """What is left of a map after x layers are random."""
    return 1.0 if saliency in CONTROLS else float(np.exp(-(0.2 + 0.6 / (1 + i)) * x))


def verdicts_of(summary, beside):
    """As the audit does, more simply."""
    key = ["model", "saliency", "scalar", "check", "setting"]
    own = summary[(summary["saliency"] != "")].merge(
        beside.drop(columns="n"), on=key, how="left", sort=False
    )
    own = own[(own["check"] != "sanity-cascade") | ~own["setting"].str.contains("/")]
    means = summary.set_index(["model", "check", "setting", "saliency"])["mean"]
    rows = []
    for line in own.to_dict("records"):
        for name in CONTROLS:
            line[name] = means.get((line["model"], line["check"], line["setting"], name), np.nan)
        sign = 1 if BETTER[line["check"]] else -1
        ends = sorted([sign * line["difference_low"], sign * line["difference_high"]])
        word = "not distinguishable"
        word = "better than random" if ends[0] > 0 else "worse" if ends[1] < 0 else word
        if not line["n"] or line["n_undefined"] or not np.isfinite(ends).all():
            word = "undefined"
        line["verdict"] = "" if line["saliency"] in CONTROLS else word
        rows.append(line)
    columns = [*key, "mean", "ci_low", "ci_high", *CONTROLS, "difference", "difference_low"]
    columns += ["difference_high", "n", "n_undefined", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def curves_of(rng, models, everyone, metrics, of_model, undefined, failed, n):
    rows = []

    def curve(model, saliency, check, xs, means, half=0.04):
        for x, mean in zip(xs, means, strict=True):
            band = (mean - half, mean + half) if n > 1 else (np.nan, np.nan)
            gone = check in undefined
            rows.append(
                (model, saliency, check, x, np.nan, np.nan, np.nan, 0)
                if gone
                else (model, saliency, check, x, mean, *band, n)
            )

    share, layers = np.linspace(0, 1, 33), np.arange(LAYERS + 1)
    for m, model in enumerate(models):
        if "density-profile" in of_model:
            curve(model, "", "density-profile", (0.01, 0.02, 0.05, 0.1), (m, 2 * m, 1 + m, 3), 0.3)
        for i, saliency in enumerate(everyone):
            speed = 1 + 8 * (1 - i / len(everyone)) - m
            for check in metrics:
                if (saliency, check) in failed:
                    continue
                if check in CURVES:
                    fall = 0.9 * np.exp(-speed * share) + 0.05
                    rises = check in ("preservation", "insertion", "discriminative")
                    values = 0.95 - fall[::-1] if check == "insertion" else 1 - share**speed
                    values = values - fall if check == "deletion-gap" else values
                    curve(model, saliency, check, share, values if rises or "-" in check else fall)
                if check == "aopc":
                    regions = np.arange(101)
                    curve(
                        model, saliency, check, regions, 0.8 * (1 - np.exp(-speed * regions / 50))
                    )
                if check == "density-perturbation":
                    curve(model, saliency, check, share, -10 * share**speed, 0.5)
                if check == "sanity-cascade":
                    left = np.array([left_of(saliency, i, x) for x in layers])
                    curve(model, saliency, check, layers, left)
                    for k, suffix in enumerate(("signed", "ssim", "hog")):
                        curve(model, saliency, f"{check}-{suffix}", layers, left ** (1 + k / 2))
                    norm = (
                        np.ones(LAYERS + 1) if saliency in CONTROLS else 0.5 ** (layers * (1 + i))
                    )
                    curve(model, saliency, f"{check}-map-norm", layers, norm, 1e-4)
                    curve(model, saliency, f"{check}-logit-spread", layers, 0.7**layers, 1e-2)
                if check == "sanity-independent":
                    curve(model, saliency, check, layers, 0.5 + 0.4 * np.cos(layers + i))
    names = ["model", "saliency", "check", "x", "mean", "ci_low", "ci_high", "n"]
    return pd.DataFrame(rows, columns=names)


def examples_of(rng, images, everyone, metrics, side, colours):
    examples = []
    for k, image in enumerate(images[:4]):
        pixels = blobs(rng, side, colours).transpose(1, 2, 0).squeeze()
        examples.append(Example(image, "", "", "", "image", pixels))
        for saliency in everyone:
            scalar = "" if saliency in CONTROLS else "logit"
            map_ = blobs(rng, side)[0] - 0.3 * (saliency == "gradient")
            examples.append(Example(image, saliency, scalar, "", "map", map_))
            if k:
                continue
            for check in [check for check in metrics if check in CURVES]:
                word = "returned" if check == "insertion" else "removed"
                for share in (0.05, 0.25, 0.5, 0.75):
                    gone = pixels.copy()
                    gone[map_ > np.quantile(map_, 1 - share)] = 0.5
                    setting = f"check={check};{word}={share:g}"
                    examples.append(Example(image, saliency, scalar, setting, "perturbed", gone))
            if "sanity-cascade" in metrics:
                for x in range(1, LAYERS + 1):
                    left = left_of(saliency, 1, x)
                    mixed = left * map_ + (1 - left) * blobs(rng, side)[0]
                    setting = f"check=sanity-cascade;randomised={x}/{LAYERS}"
                    examples.append(Example(image, saliency, scalar, setting, "randomised", mixed))
    return examples
