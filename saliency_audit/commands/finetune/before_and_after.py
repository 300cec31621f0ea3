"""What training changed: the same images, measured with the model before and after it."""

from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from saliency_audit.commands.attack.audit import attack
from saliency_audit.commands.evaluate.audit import IMAGES_AT_ONCE, evaluate
from saliency_audit.commands.finetune.options import QUESTIONS
from saliency_audit.commands.finetune.plan import LEAST
from saliency_audit.data import ImageData
from saliency_audit.data.dataset import subset
from saliency_audit.errors import InputError, lookup
from saliency_audit.methods import METHODS
from saliency_audit.metrics import METRICS
from saliency_audit.models import SCALARS, Classifier
from saliency_audit.setting import eps_text
from saliency_audit.types import Batch, Example, Row

FINETUNED = "finetuned"
"""Name of the model after training."""
_METRICS = (
    "robust-accuracy",
    "gradient-norm-target",
    "gradient-norm-others",
    "scalar-agreement",
    "sparsity-gini",
    "deletion",
    "discriminative",
)
ROLES = ("before", "swapped", "after")
"""Models, in the order in which they are measured."""
_FURTHER = "-trained"
"""What jobs of the second budget are called."""
JOBS = (
    "accuracy",
    "metrics",
    f"metrics{_FURTHER}",
    *(f"attack-{role}{further}" for further in ("", _FURTHER) for role in ROLES),
)
"""What the batches belong to, in the order in which they come."""
Budget = tuple[float, str]
"""In pixel units, and its norm."""
_UNDER_ATTACK = ("topk-intersection", "prediction-kept")
_BESIDE_ATTACK = tuple(METRICS["completeness"].checks)  # of the model, at no budget
_COST = {"accuracy": 1, "evaluate": 150, "attack": 150}  # of one image, roughly


@dataclass(frozen=True)
class _Run:
    """One audit of those that belong to the comparison.

    Attributes:
        job: what its batches belong to.
        batches: the audit, less ``begin`` and ``advance``.
        rows: what becomes of a row; None leaves it out.
        work: in units of ``_COST``.
        drawn: whether its images and maps are examples.
    """

    job: str
    batches: Callable[..., Iterator[Batch]]
    rows: Callable[[Row], Row | None]
    work: int
    drawn: bool = False


def before_and_after(
    before: Classifier | None,
    after: Classifier,
    data: ImageData,
    *,
    swapped: Classifier | None = None,
    checks: Collection[str] = QUESTIONS,
    saliency: Sequence[str] = ("gradient",),
    scalar: str = "logit",
    target: str = "predicted",
    max_samples: int = 256,
    budgets: Sequence[Budget] = ((8 / 255, "linf"),),
    other: Classifier | None = None,
    options: Mapping[str, Any] | None = None,
    search: Mapping[str, Any] | None = None,
    seed: int = 0,
    batch_size: int = IMAGES_AT_ONCE,
    workers: int = 0,
    shard: tuple[int, int] = (0, 1),
    begin: Callable[[str], Container[int]] = lambda job: (),
    tell: Callable[[str], None] = lambda line: None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Batch]:
    """Measure a model before and after training on the same images.

    The accuracy is of all images. Everything else is of ``max_samples`` of them, chosen with the
    seed: robust accuracy, gradient norms, agreement of logit and centred logit, sparsity, deletion
    and discriminative of each method beside the two controls, stability, and the top-k attack on
    each method that can be differentiated, beside noise of the same size.

    Args:
        before: the model that was trained further; None if there is none, as when training began
            with random weights. Its rows have its own name.
        after: the trained model; its rows have the name ``FINETUNED``.
        swapped: the model before under the activation that ``after`` was trained with, where that
            is another one: what of a difference is not the training's.
        data: the images. What needs labels is undefined for those without.
        checks: what is measured, of ``QUESTIONS``.
        saliency: names in ``METHODS``.
        scalar: a name in ``SCALARS``.
        target: "predicted" or "label", the explained class; "predicted" is each model's own.
        max_samples: images of all but the accuracy.
        budgets: of robust accuracy and of the attack on maps, one or two, in pixel units and each
            with its norm, "linf" or "l2".
        other: another training, such as one with another seed, with whose maps those of both
            models are compared ("stability"). None compares the maps of ``after`` with those of
            ``before``: how much of the old map is kept. ``before`` has no such rows then.
        options: of saliency methods.
        search: options of the attack on maps, such as ``steps``.
        seed: of every random draw.
        batch_size: most images a model sees at once.
        workers: processes that read images.
        shard: ``(rank, world)``: this process takes every world-th batch.
        begin: called with one of ``JOBS`` once something is known to work; returns the indices of
            its batches that need no work.
        tell: called with lines the user should read, each of them once.
        advance: called with (work done, all work).

    Yields:
        Batches of rows, each with its job. The examples are the first images with the maps before
        and after (roles "image" and those of ``ROLES``); settings name classes, ``label=...`` of an
        image and ``class=...`` of a map.

    Raises:
        InputError: an unknown name or impossible number, models with different classes, or images
            that cannot be read at all.
    """
    check_before_and_after(saliency, scalar, budgets=budgets)
    search = search or {}
    chosen = subset(data, max_samples, seed)
    # Its weights and counters are shared, its name is not.
    after = after.replaced(after.network, name=FINETUNED)
    known = zip(ROLES, (before, swapped, after), strict=True)
    roles = {role: model for role, model in known if model is not None}
    models = list(roles.values())
    saliency = list(dict.fromkeys(saliency))
    told: set[str] = set()

    def tell_once(line: str) -> None:
        if line not in told:
            told.add(line)
            tell(line)

    shared: dict[str, Any] = {
        "target": target,
        "options": options,
        "seed": seed,
        "batch_size": batch_size,
        "workers": workers,
        "shard": shard,
        "tell": tell_once,
    }
    second = (other or before) if "stability" in checks else None
    metrics: dict[str, Mapping[str, Any]] = {name: {} for name in _METRICS if name in checks}
    if "robust-accuracy" in checks:
        metrics["robust-accuracy"] = _named(budgets[0])
    if second is not None:
        metrics["stability"] = {}
    compared = partial(evaluate, models[0], models=models[1:], scalar=scalar, **shared)
    runs = [
        _Run(
            "accuracy",
            partial(compared, data, metrics=["accuracy"]),
            lambda row: row,
            len(data) * len(models) * _COST["accuracy"],
        ),
        _Run(
            "metrics",
            partial(compared, chosen, metrics=metrics, saliency=saliency, beside={"other": second}),
            partial(
                _measured,
                old=before.name if before and other is None else "",
                second=second,
                budget=budgets[0],
            ),
            len(chosen) * len(models) * len(saliency) * _COST["evaluate"],
            drawn=True,
        ),
        *(
            _Run(
                f"metrics{_FURTHER}",
                partial(compared, chosen, metrics={"robust-accuracy": _named(budget)}),
                partial(_measured, old="", second=None, budget=budget),
                len(chosen) * len(models) * _COST["evaluate"],
            )
            for budget in (budgets[1:] if "robust-accuracy" in checks else ())
        ),
    ]
    runs = [run for run in runs if run.job != "accuracy" or "accuracy" in checks]
    runs = [run for run in runs if run.job != "metrics" or metrics]
    to_attack = saliency if "topk-intersection" in checks else []
    attacked = [name for name in to_attack if METHODS[name].differentiable]
    for name in to_attack:
        if name not in attacked:
            tell_once(f"{name} is not attacked: it cannot be differentiated")
    runs += [
        _Run(
            f"attack-{role}{further}",
            partial(
                attack,
                model,
                chosen,
                saliency=attacked,
                measure=attacked,
                scalars=[scalar],
                eps=[eps],
                norm=norm,
                search=search,
                **shared,
            ),
            partial(_of_attack, checks=_UNDER_ATTACK + (() if further else _BESIDE_ATTACK)),
            len(chosen) * len(attacked) * _COST["attack"],
        )
        for (eps, norm), further in zip(budgets, ("", _FURTHER), strict=False)
        for role, model in (roles if attacked else {}).items()
    ]
    total, made = sum(run.work for run in runs), 0
    for run in runs:

        def count(done: int, of: int, made: int = made, work: int = run.work) -> None:
            advance(made + round(work * done / max(of, 1)), total)

        for batch in run.batches(begin=partial(begin, run.job), advance=count):
            # An image that cannot be read has one row, of whatever is measured first.
            rows = [
                row
                for given in batch.rows
                if (row := given if run is runs[0] and not given["check"] else run.rows(given))
                is not None
            ]
            examples = _drawn(batch, roles, chosen.class_names) if run.drawn else []
            yield replace(batch, rows=rows, examples=examples, job=run.job)
        made += run.work
        advance(made, total)


def check_before_and_after(
    saliency: Sequence[str],
    scalar: str,
    *,
    budgets: Sequence[Budget],
) -> None:
    """Refuse what `before_and_after` cannot do, before anything is trained.

    Args:
        saliency: names of methods.
        scalar: name of the explained scalar.
        budgets: of the attacks, each with its norm.

    Raises:
        InputError: one line with the value and what to give instead.
    """
    for name in saliency:
        lookup("saliency method", METHODS, name)
    lookup("scalar", SCALARS, scalar)
    for eps, norm in budgets:
        lookup("norm", {"linf": None, "l2": None}, norm)
        if not eps >= LEAST:
            raise InputError(
                f"--audit-eps is {eps:g}; images have 8 bits, so give 1/255 or more, such as 2/255"
            )


def _named(budget: Budget) -> dict[str, Any]:
    return {"eps": budget[0], "norm": budget[1]}


def _of_attack(row: Row, *, checks: Container[str]) -> Row | None:
    """A row of the attack; the clean maps that say nothing have a row beside the metrics."""
    lost = not row["check"] and row["setting"].startswith("attack=")
    return row if lost or row["check"] in checks else None


def _measured(row: Row, *, old: str, second: Classifier | None, budget: Budget) -> Row | None:
    """A row of the metrics: stability says with what, and that of a model with itself goes.

    A budget at which an attack failed stands behind the reason.
    """
    stability = row["check"] in METRICS["stability"].checks
    unreadable = not row["check"] and not row["saliency"]
    if unreadable or (row["model"] == old and stability):
        return None
    if row["check"] == "robust-accuracy" and row["setting"].startswith("reason="):
        eps, norm = budget
        return row | {"setting": f"{row['setting']};eps={eps_text(eps)};norm={norm}"}
    if stability and second is not None:
        other = f"other={_plain(second.name)}"
        return row | {"setting": ";".join(filter(None, (row["setting"], other)))}
    return row


def _drawn(
    batch: Batch, roles: Mapping[str, Classifier], class_names: Sequence[str] | None
) -> list[Example]:
    """The images and the maps of each model, which say of which model and class they are."""
    known = dict(enumerate(class_names or ()))

    def said(key: str, index: int | None) -> str:
        return "" if index is None else f"{key}={_plain(known.get(index, f'class {index}'))}"

    rows = {(row["model"], row["image"]): row for row in batch.rows if row["check"]}
    names = [model.name for model in roles.values()]
    # A method that failed on a model has drawn nothing of it.
    made = {(r["model"], r["image"], r["saliency"]) for r in batch.rows if r["status"] != "error"}
    found, left = [], dict[tuple[str, str], list[str]]()
    for example in batch.examples:
        key = (example.image, example.saliency)
        if example.role == "image":
            label = rows[names[0], example.image]["label"]
            found.append(replace(example, setting=said("label", label)))
        elif example.role == "map":
            having = [role for role, model in roles.items() if (model.name, *key) in made]
            role = left.setdefault(key, having).pop(0)
            target = rows[roles[role].name, example.image]["target"]
            found.append(replace(example, role=role, setting=said("class", target)))
    return found


def _plain(name: str) -> str:
    """A name as it can stand in a setting."""
    return name.replace(";", ",").replace("=", "-")
