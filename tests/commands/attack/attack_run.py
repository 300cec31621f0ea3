"""A run of attack as its report gets it: rows, summary, verdicts, pictures. All invented."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from saliency_audit.stats.summary import summarise
from saliency_audit.types import COLUMNS, Example

CHANCE = 16 / 784
RETRIEVAL = [f"retrieval-{a}-{b}" for a in ("clean", "attacked") for b in ("clean", "attacked")]
DISTANCES = ("l2_min", "l2_mean", "l2_max", "l2_model_min", "l2_model_mean", "l2_model_max")
WORDS = {"fragile": "moves easily", "shifted": "moves a little", "steady": "does not move"}


@dataclass
class AttackRun:
    results: pd.DataFrame
    summary: pd.DataFrame
    verdicts: pd.DataFrame
    predictions: pd.DataFrame
    examples: list


def blobs(rng, side, colours=1):
    y, x = np.mgrid[:side, :side] / side
    at = rng.random((colours, 4, 2, 1, 1))
    found = np.exp(-((x - at[:, :, 0]) ** 2 + (y - at[:, :, 1]) ** 2) / 0.02).sum(1)
    return (found / found.max()).astype(np.float32)


def attack_run(
    *,
    images=("a.png", "b.png", "c.png"),
    attacks=("topk", "mass-center"),
    methods=("gradient", "smoothgrad"),
    scalars=("logit",),
    budgets=("2/255", "8/255"),
    free=(),
    pgd=False,
    side=28,
    colours=1,
):
    """Attacks on methods under scalars and budgets; ``free`` are attacks without a budget."""
    rng = np.random.default_rng(0)
    rows, examples = [], []

    def row(image, saliency, scalar, check, setting, value):
        status = "ok" if np.isfinite(value) else "undefined"
        rows.append((image, 3, 3, "net", saliency, scalar, check, setting, value, status))

    def of_maps(image, scalar, setting, similarity, attacked=""):
        for method in [attacked] if "worst-case" in setting else methods:
            far = 0 if method == attacked or not attacked else 0.3
            value = np.clip(similarity + far + rng.normal(0, 0.03), 0, 1)
            row(image, method, scalar, "topk-intersection", setting, value)
            for check in RETRIEVAL:
                row(image, method, scalar, check, setting, float(rng.random() < 0.6))

    def of_image(image, scalar, setting, allowed):
        for check, value in {
            "attack-success": 1.0,
            "prediction-kept": 1.0,
            "linf-distance": allowed,
            "l2-distance": 20 * allowed * rng.uniform(0.8, 1),
        }.items():
            row(image, "", scalar, check, setting, value)
        row(image, "", scalar, "l2-distance", f"{setting};space=model", 80 * allowed)

    planned = [*product(attacks, budgets), *((attack, "none") for attack in free)]
    for k, image in enumerate(images):
        clean = blobs(rng, side, colours).transpose(1, 2, 0).squeeze()
        examples.append(Example(image, "", "", "", "image", clean))
        for (attack, eps), method, scalar in product(planned, methods, scalars):
            setting = f"attack={attack};eps={eps};attacked={method}"
            allowed = 8 / 255 if eps == "none" else int(eps.split("/")[0]) / 255
            left = 0.02 + 0.1 * k + 0.3 * methods.index(method) / len(methods) + 0.01 / allowed / 8
            if attack != "worst-case":
                of_image(image, scalar, setting, allowed)
                noise = rng.choice([-allowed, allowed], clean.shape)
                moved = np.clip(clean + noise, 0, 1).astype(np.float32)
                made = (image, method, scalar, setting)
                before = blobs(rng, side)[0] - 0.3 * (method == "gradient")
                after = before * left + (1 - left) * blobs(rng, side)[0]
                examples += [
                    Example(*made, "attacked", moved),
                    Example(*made, "before", before),
                    Example(*made, "after", after),
                ]
            if attack == "structured":
                examples.append(Example(*made, "target", blobs(rng, side)[0]))
                for step in (0, 20, 40, 60, 80, 100):
                    for check, size in (("map-term", 1e3), ("prediction-term", 1.0)):
                        value = size * np.exp(-step / 30 - methods.index(method))
                        row(image, "", scalar, check, f"{setting};step={step}", value)
            of_maps(image, scalar, setting, left, method)
        for eps, scalar in product(budgets, scalars):
            of_maps(image, scalar, f"attack=random;eps={eps}", 0.6 - 0.04 * int(eps[0]))
        for method, scalar in product(methods if free else (), scalars):
            of_maps(image, scalar, f"attack=random;eps=none;attacked={method}", 0.5)
        if pgd:
            of_image(image, "", "attack=pgd;eps=8/255", 8 / 255)
        row(image, "gradient", "logit", "surrogate-agreement", "surrogate=softplus;beta=30", 0.9)
    results = pd.DataFrame(rows, columns=list(COLUMNS))
    summary = summarise(
        results,
        higher_is_better={},
        chance=dict.fromkeys(("topk-intersection", *RETRIEVAL), CHANCE),
    )
    verdicts = [
        verdict(summary, method, scalar, attack, eps)
        for (attack, eps), method, scalar in product(planned, methods, scalars)
    ]
    number = {"success": 0.75, "success_low": 0.5, "success_high": 0.9, "control": 0.01}
    number |= {"l2_mean": 1.5, "linf_max": 8 / 255, "n": len(images)}
    predictions = pd.DataFrame([{"setting": "attack=pgd;eps=8/255", "eps": "8/255", **number}])
    return AttackRun(
        results,
        summary,
        pd.DataFrame(verdicts),
        predictions if pgd else predictions[:0],
        examples,
    )


def verdict(summary, method, scalar, attack, eps):
    setting = f"attack={attack};eps={eps};attacked={method}"
    noise = f"attack=random;eps={eps}" + (f";attacked={method}" if eps == "none" else "")
    own = summary[(summary["saliency"] == method) & (summary["scalar"] == scalar)]
    own = own[own["check"] == "topk-intersection"].set_index("setting")
    found = {"setting": setting, "attack": attack, "eps": eps, "saliency": method, "scalar": scalar}
    for name, beside in (("similarity", setting), ("control", noise)):
        for end, column in (("", "mean"), ("_low", "ci_low"), ("_high", "ci_high")):
            found[name + end] = own.loc[beside, column]
    found |= {"chance": CHANCE, "success": 1.0}
    found |= {name: 0.5 * (i + 1) for i, name in enumerate(DISTANCES)}
    similarity, control = found["similarity"], found["control"]
    word = "fragile" if similarity < control / 2 else "shifted"
    word = "steady" if similarity > 0.9 * control else word
    return found | {"n": int(own.loc[setting, "n"]), "n_undefined": 0, "verdict": word}
