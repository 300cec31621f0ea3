"""A run of finetune as its report gets it. All invented."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from saliency_audit.catalogue.entries import Check
from saliency_audit.types import Example

WORDS = {"better": "gained", "worse": "lost", "no difference shown": "the same to all appearance"}
CHECKS = {
    "accuracy": Check(None, "what accuracy is", True, (0, 1), "someone (2020)"),
    "deletion": Check(None, "what deletion is", False, (0, 1), "someone (2020)"),
    "stability": Check(None, "what stability is", True, (0, 1), "someone (2020)"),
    "gradient-norm-target": Check(None, "a norm", None, (0, np.inf), "someone (2020)"),
}
UNSWAPPED = dict.fromkeys(("swapped", "swapped_low", "swapped_high"), np.nan)
TERMS = ("cross-entropy", "score-matching")


@dataclass
class FinetuneRun:
    training: pd.DataFrame
    summary: pd.DataFrame
    verdicts: pd.DataFrame
    curves: pd.DataFrame
    compared: pd.DataFrame
    examples: list


def finetune_run(
    methods=("gradient",), images=("a.png", "b.png"), steps=120, compared=True, swapped=False
):
    models = ("net", "finetuned") if compared else ("finetuned",)
    roles = ("before", "swapped", "after") if swapped else ("before", "after")
    verdicts = [_verdict("accuracy", "", 0.93, 0.91, "worse", compared=compared)]
    for method in methods:
        verdicts.append(_verdict("deletion", method, 0.6, 0.5, "better", compared=compared))
    for method in methods:
        verdicts.append(_verdict("stability", method, np.nan, 0.6, "", compared=compared))
    verdicts.append(_verdict("gradient-norm-target", "", 20, 7, "changed", compared=compared))
    summary = [
        (model, saliency, "", check, "", 40, 0, 0.5, 0.4, 0.6, 0.5, np.nan, None)
        for model in models
        for check, saliency in (("accuracy", ""), *(("deletion", m) for m in (*methods, "random")))
    ]
    columns = "model,saliency,scalar,check,setting,n,n_undefined,mean,ci_low,ci_high,control,chance"
    curves = [
        (model, saliency, "deletion", x, 1 - x, 0.9 - x, 1.1 - x, 40)
        for model in models
        for saliency in (*methods, "random", "sobel")
        for x in np.linspace(0, 1, 9)
    ]
    compare = pd.DataFrame([("finetuned", "net", "deletion", -0.1)])
    return FinetuneRun(
        training(steps),
        pd.DataFrame(summary, columns=[*columns.split(","), "higher_is_better"]),
        pd.DataFrame(verdicts if swapped else [line | UNSWAPPED for line in verdicts]),
        pd.DataFrame(
            curves, columns=["model", "saliency", "check", "x", "mean", "ci_low", "ci_high", "n"]
        ),
        compare,
        examples(methods, images, roles if compared else ("after",)),
    )


def training(steps):
    rng = np.random.default_rng(0)
    step = np.arange(1, steps + 1)
    frame = pd.DataFrame({"step": step, "epoch": 1 + step // 40, "lr": 0.01 / step})
    frame["seconds"] = 0.1
    frame["images_per_second"] = 640.0
    frame["train_accuracy"] = rng.random(steps)
    frame["val_accuracy"] = np.where(step % 40 == 0, 0.9, np.nan)
    frame["cross-entropy"] = rng.random(steps)
    frame["score-matching"] = 1e-4 * rng.random(steps)
    frame["loss"] = frame["cross-entropy"] + frame["score-matching"]
    frame["trace"] = rng.standard_normal(steps)
    return frame


def examples(methods, images, roles):
    rng = np.random.default_rng(0)
    found = []
    for name in images:
        pixels = rng.random((8, 8)).astype(np.float32)
        found.append(Example(name, "", "", "label=Sandal", "image", pixels))
        for role in roles:
            for method in (*methods, "random", "sobel"):
                signed = rng.standard_normal((8, 8)).astype(np.float32)
                shown = np.abs(signed) if method in ("random", "sobel") else signed
                found.append(Example(name, method, "logit", "class=Bag", role, shown))
    return found


def _verdict(check, saliency, before, after, word, *, compared):
    if not compared:
        before, word = np.nan, ""
    line = {"check": check, "saliency": saliency, "setting": ""}
    means = {"before": before, "swapped": (before + after) / 2, "after": after}
    for name, mean in (means | {"difference": after - before}).items():
        line |= {name: mean, f"{name}_low": mean - 0.05, f"{name}_high": mean + 0.05}
    control = (0.6, 0.58) if check == "deletion" else (np.nan, np.nan)
    line |= {"control_before": control[0], "control_after": control[1]}
    return line | {"n": 200 if check == "accuracy" else 40, "n_undefined": 0, "word": word}
