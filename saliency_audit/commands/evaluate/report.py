"""The report of ``evaluate``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from saliency_audit.catalogue.entries import Check
from saliency_audit.catalogue.metrics import OF_TRAININGS
from saliency_audit.commands.evaluate import charts, gallery, tables
from saliency_audit.commands.evaluate.charts import SANITY
from saliency_audit.commands.evaluate.distances import draw_distances
from saliency_audit.report.figures import View, draw_table
from saliency_audit.report.html import Picture, Section
from saliency_audit.report.page import numbered, of_pages, shorten
from saliency_audit.report.sections import (
    captioned,
    filled,
    numbers_by_model,
    write_page,
    write_tables,
)
from saliency_audit.setting import parts_of
from saliency_audit.stats.undefined import with_reasons
from saliency_audit.types import Example

PICTURES = ("verdicts", "maps", "perturbed", "randomised", "patched")
"""How the names of pictures begin that are not named after a check."""

_UNFOLDED = 2  # pages
_VERDICTS = "Which maps tell what the model uses?"

_INTRODUCTION = (
    "A saliency map marks the pixels that a model is said to have decided by. Nobody knows the "
    "pixels it really decided by, so no map can be compared with the truth. What can be measured: "
    "whether the model's answer changes more when the marked pixels go than when others do, and "
    "whether the map changes at all when what the model has learned is taken away.",
    "Every number stands beside those of two controls that see no model: random numbers, and the "
    "edges of the image (sobel). A map that does no better than random numbers has not shown that "
    "it tells anything. A map that does no better than edges has not shown more than the image.",
)
_MAPS = ("How salient maps look says nothing about whether they are right. Compare with sobel.",)
_CURVES = (
    "Pixels are replaced step by step in the order of their saliency, and the model is asked at "
    "every step. The metric is the area under the curve or, of aopc, its mean.",
)
_SANITY = (
    "If a map tells what the model has learned, it must change when that is taken away. Layers "
    "are drawn at random, the model explains again, and both maps are compared. 1 is the same map; "
    "sobel, which sees no model, always has 1. 0 is a map that has nothing to do with the first.",
)
_PERTURBED = ("The first image on its way along the curves, as the model saw it.",)
_KNOWN = (
    "A copy of the model was trained on images of which half carry a small patch of stripes, and "
    "there the patch alone says the class. So the pixels that decide are known: known-answer is "
    "the share of as many of the map's most salient pixels that lie in the patch. It says whether "
    "the method finds them in this architecture; of the given model, nobody knows the pixels.",
)
_SAMPLED = (
    "Images that climb the logit of a class by the model's own gradient, and what a second "
    "network, the judge, takes them for (gan-test). Where the judge sees the class, the gradient "
    "shows something of the class; where it does not, it shows what this model alone looks for. "
    "That the model itself sees the class says nothing. samples/ has all of them as files.",
    "Samples are made of logits alone. Whoever owns the weights can forge them as they can forge "
    "maps: by adding the same to all logits, which changes no prediction, or by fine-tuning "
    "(Gradient Slingshots).",
)
_OF_MODEL = (
    "No map can be better than the model it explains: with an accuracy near chance there is little "
    "to explain. A low scalar-agreement means that something was added to all logits alike; then "
    "every map of a logit may have been forged. A completeness near 1 means that gradients, and "
    "all maps made of them, show something else than what the model computes.",
)
_DISTANCES = (
    "Adversarial examples, and images with noise of the same length, are projected to a manifold "
    "that was learned from images (a VAE-GAN, or a plane). Where examples of a network lie nearer "
    "than its noise, and nearer than those of another network, its gradients keep closer to what "
    "images look like; P3 found that of adversarially trained ones. The manifold is a model, too: "
    "it is as far from clean images as their own line shows.",
)
_DROP = (
    "How much smaller the mean drop of the probability is than that of the base method: ratio of "
    "means over the same images, lower is better, negative is better than the base. Undefined "
    "where the base's own mean is not above 0.",
)
_COMPARED = (
    "Every further model minus the first one, on the same images: the mean of the paired "
    "differences with its 95 % interval. compare.csv has every number.",
)
_LIMITS = (
    "An image with replaced pixels is unlike all images the model was trained on: its answer may "
    "change for that reason alone. That is why every number stands beside the random map's, for "
    "which as many pixels were replaced, and why a difference to it is what the word is about.",
    "A map better than random is not thereby complete or right: it marks pixels that matter "
    "more than others do.",
    "density-perturbation reads logits, not probabilities. Of classes that exclude each other, "
    "adding the same to all logits changes no prediction and no probability, and forges it; "
    "scalar-agreement tells on that.",
    "roar, kar and diffroar train networks anew, so that no model sees images unlike those it was "
    "trained on. But which pixels went can give the class away: the accuracy of networks that "
    "see nothing but that pattern stands beside them as mask-only. And they are about other "
    "networks of the same architecture, not about the given one.",
    "The sanity checks compare the map of the given model with that of a model whose weights are "
    "random, for the same image and class. They show whether a map depends on what was learned, "
    "not whether it is right. Where the randomised model's map has a norm, or its logits a "
    "spread, near 0, there was nothing left to compare.",
    "Means come with 95 % intervals: a percentile bootstrap over images, Wilson's score "
    "interval for checks that are 0 or 1 for each image, and Student's over trainings. They hold "
    "for images like these ones and are not corrected for the number of comparisons: of twenty "
    "words one may be chance. Undefined values are counted, never averaged.",
    "Maps are drawn each in its own range, but with --view none: their patterns can be compared, "
    "their strengths not.",
)


def _over(verdicts: pd.DataFrame) -> str:
    """What the means of a table are over."""
    kinds = dict.fromkeys(
        "trainings" if check in OF_TRAININGS else "images" for check in verdicts["check"]
    )
    return " and ".join(kinds)


def write_evaluate_report(
    folder: Path,
    *,
    summary: pd.DataFrame,
    verdicts: pd.DataFrame,
    curves: pd.DataFrame,
    examples: Sequence[Example],
    sentence: str,
    run: Mapping[str, Any],
    words: Mapping[str, str],
    checks: Mapping[str, Check],
    results: pd.DataFrame,
    samples: Sequence[Path] = (),
    compared: pd.DataFrame | None = None,
    drops: pd.DataFrame | None = None,
    said: Mapping[str, str] | None = None,
    view: View = "",
) -> list[Path]:
    """Write everything ``evaluate`` shows but ``results.csv`` and ``run.json``.

    Args:
        folder: the output folder.
        summary: of `summarise`.
        verdicts: ``model,saliency,scalar,check,setting,mean,ci_low,ci_high,random,sobel,
            difference,difference_low,difference_high,n,n_undefined,verdict,reason``; may be empty.
            The controls have rows with an empty verdict.
        curves: ``model,saliency,check,x,mean,ci_low,ci_high,n``; may be empty.
        examples: images, maps, images with pixels replaced and maps of randomised models.
        sentence: the answer.
        run: facts about the run; "model", "data" and "clean accuracy" also stand at the top.
        words: what the verdicts mean.
        checks: what is known of each check, by name.
        results: rows of ``results.csv``, for why images have no value.
        samples: pictures of what the models make.
        compared: differences of further models to the first, see `between_models`.
        drops: see `relative_drop`.
        said: by image, the class that its maps explain.
        view: how the pictures scale maps, see `colours`.

    Returns:
        The files written.

    Raises:
        AuditError: a file cannot be written.
    """
    written = write_tables(
        folder,
        summary=summary,
        verdicts=verdicts,
        curves=curves,
        compare=compared,
        relative_drop=drops,
    )
    overview, words_of_table = tables.verdict_tables(verdicts), tables.told(verdicts, checks)
    glance: list[Path] = []
    for table in overview:
        glance += draw_table(
            table,
            folder,
            "verdicts",
            title=_VERDICTS + (f" · {shorten(table.title, 60)}" if table.title else ""),
            footnote=". ".join([*words_of_table, f"Numbers: means over {_over(verdicts)}."]),
            across=6,
            start=len(glance),
        )
    of = " of the first model" if summary["model"].nunique() > 1 else ""
    maps = captioned(
        gallery.draw_gallery(examples, folder, said, view), f"The first images and their maps{of}."
    )
    drawn = _draw_curves(curves, verdicts, folder, checks)
    sanity = [picture for name in SANITY for picture in drawn.pop(name, [])]
    charts_of_model = [picture for name in _of_models(curves) for picture in drawn.pop(name, [])]
    of_pixels = [picture for pictures in drawn.values() for picture in pictures]
    sanity += captioned(
        gallery.draw_randomised(examples, folder, view),
        f"The first image's map{of} as weights are drawn at random.",
    )
    patched = captioned(
        gallery.draw_patched(examples, folder, view),
        f"The first image with its patch, and its maps{of}.",
    )
    perturbed = captioned(
        gallery.draw_perturbed(examples, folder, fills=_fills(summary)),
        f"What each map{of} had replaced.",
    )
    distances = draw_distances(results, summary, folder)
    sections = [
        Section("Verdicts", words_of_table, tables=overview),
        Section("What the words mean", terms=words if len(verdicts) else {}),
        Section("What was measured", tables=tables.metric_table(summary, checks)),
        Section("The maps", _MAPS, pictures=maps),
        Section("What happens as pixels are replaced", _CURVES, pictures=of_pixels),
        Section(
            "The images that the model was shown",
            _PERTURBED,
            pictures=perturbed,
            folded=len(perturbed) > _UNFOLDED,
        ),
        Section("Does the map depend on the model?", _SANITY, pictures=sanity),
        Section("Does the map find what is known to decide?", _KNOWN, pictures=patched),
        Section(
            "What the model makes itself",
            _SAMPLED,
            pictures=captioned(samples, "The first samples, below what they were made from."),
        ),
        Section(
            "The model itself",
            _OF_MODEL,
            pictures=charts_of_model,
            tables=tables.others_table(
                tables.of_model(with_reasons(summary, results)).to_dict("records"),
                checks,
                several=summary["model"].nunique() > 1,
            ),
        ),
        Section(
            "How far from images do adversarial examples lie?",
            _DISTANCES if len(distances) else (),
            pictures=captioned(distances, "Distances to the projection, as in P3 Figure 1."),
        ),
        Section(
            "Compared with the first model",
            _COMPARED,
            tables=tables.compared_tables(compared, verdicts, checks),
        ),
        Section("The relative drop of AOPC", _DROP, tables=tables.drop_tables(drops)),
        Section("The verdicts in numbers", tables=tables.detail_tables(verdicts, checks)),
        Section("What failed", tables=tables.failure_tables(summary)),
    ]
    return (
        written
        + glance
        + write_page(
            folder,
            title="Do these saliency maps tell the truth?",
            sentence=sentence,
            run=run,
            introduction=_INTRODUCTION,
            parts=filled(sections),
            limits=_LIMITS,
            numbers=numbers_by_model(summary, named=summary["model"].nunique() > 1),
        )
    )


def _draw_curves(
    curves: pd.DataFrame, verdicts: pd.DataFrame, folder: Path, checks: Mapping[str, Check]
) -> dict[str, list[Picture]]:
    """Pictures of each check, by check: few methods of a model in each, or all models alone."""
    defined = curves[np.isfinite(curves["mean"].astype(float))]
    several = curves["model"].nunique() > 1
    alone = _of_models(curves)
    drawn: dict[str, list[Picture]] = {}
    for name in dict.fromkeys(map(_family, defined["check"])):
        own = defined[defined["check"].map(_family) == name]
        if name in alone:
            own = own.assign(saliency=own["model"], model="")
        check, pictures = checks.get(name), drawn.setdefault(name, [])
        for model, mine in own.groupby("model", sort=False):
            called = str(model) if several else ""
            parts = [mine] if name in alone else charts.few_at_once(mine)
            for i, part in enumerate(parts):
                path = charts.draw_curves(
                    part,
                    verdicts[verdicts["model"] == model],
                    numbered(folder, name, len(pictures)),
                    name=name,
                    check=check,
                    model=called,
                    page=of_pages(i, len(parts)),
                )
                pictures.append(Picture(path, charts.title_of(name, check, called)))
    return drawn


def _fills(summary: pd.DataFrame) -> dict[str, str]:
    """What each check replaces pixels by, if it is one thing."""
    found: dict[str, set[str]] = {}
    for check, setting in zip(summary["check"], summary["setting"], strict=True):
        if fill := parts_of(setting).get("fill"):
            found.setdefault(check, set()).add(fill)
    return {check: next(iter(fills)) for check, fills in found.items() if len(fills) == 1}


def _family(check: str) -> str:
    """The check whose picture shows a check: that of a sanity check shows all ways to compare."""
    return next((name for name in SANITY if check.startswith(f"{name}-")), check)


def _of_models(curves: pd.DataFrame) -> list[str]:
    """Checks whose curves are of no map."""
    of_maps = {_family(check) for check in curves.loc[curves["saliency"] != "", "check"]}
    return [check for check in dict.fromkeys(map(_family, curves["check"])) if check not in of_maps]
