"""Can someone who owns the image move its saliency map, with the prediction unchanged? (B)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Unpack

from torch import Tensor

from saliency_audit.attacks import ATTACKS, EVOLUTION, GRADIENT, SEARCHES
from saliency_audit.catalogue.entries import SaliencyMethod
from saliency_audit.commands.attack.batch import AttackedBatch, Run
from saliency_audit.commands.attack.costs import Economy, passes_of_image
from saliency_audit.commands.attack.files import check_channels
from saliency_audit.commands.attack.jobs import RANDOM, Job, jobs
from saliency_audit.commands.attack.search import attackable, possible, search_of, search_options
from saliency_audit.commands.attack.targets import Targets
from saliency_audit.commands.costs import Told, listeners, of_batches
from saliency_audit.commands.explain import predict, supported
from saliency_audit.commands.known import first_images
from saliency_audit.commands.picture import load_picture
from saliency_audit.commands.rows import failure_rows
from saliency_audit.data import ImageData, batches, images_of
from saliency_audit.errors import InputError, UnsupportedError, lookup
from saliency_audit.methods import METHODS
from saliency_audit.metrics.similarity import pixel_count
from saliency_audit.models import SCALARS, Classifier, follows
from saliency_audit.types import Batch

ATTACKS_BY_DEFAULT = ("topk",)
METHODS_BY_DEFAULT = (
    "gradient",
    "input-x-gradient",
    "smoothgrad",
    "integrated-gradients",
    "gradcam",
)
"""Attacked methods: those most in use. The others cost as much as these all together."""
ALL = "all"
EPS = 8 / 255
"""Budget of attacks that need one (Ghorbani et al. 2019)."""
IMAGES_AT_ONCE = 32
"""Most images of one batch of rows: what a kill can lose."""
TOP = 0.02
"""Share of the pixels that are the most salient ones."""
DRAWS = 5
"""Of the control."""
EXAMPLES = 4
"""Images drawn of each attack on each method: the worst."""


def attack(
    model: Classifier,
    data: ImageData,
    *,
    attacks: Sequence[str] = ATTACKS_BY_DEFAULT,
    saliency: Sequence[str] | None = None,
    measure: Sequence[str] | None = None,
    saved: Economy | None = None,
    scalars: Sequence[str] = ("logit",),
    target: str = "predicted",
    eps: Sequence[float] | None = None,
    norm: str = "linf",
    k: float = TOP,
    target_map: Tensor | Path | None = None,
    search: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    methods: Mapping[str, SaliencyMethod] | None = None,
    folder: Path | None = None,
    seed: int = 0,
    batch_size: int = IMAGES_AT_ONCE,
    workers: int = 0,
    **told: Unpack[Told],
) -> Iterator[Batch]:
    """Attack every image with each attack and measure every map before and after.

    Each attacked image is written as an 8-bit PNG and read back; all that is measured is measured
    on that, with the original network. Beside each budget stands noise that uses it up.

    Args:
        model: the classifier; its flags are restored, its weights never touched.
        data: the images.
        attacks: names in ``ATTACKS``; "random", the control, is always run.
        saliency: attacked methods, names in ``METHODS``; None means those of
            ``METHODS_BY_DEFAULT`` that can be attacked, and "all" all of them.
        measure: measured methods; None means all that the model's format allows.
        saved: what is not done where nobody asked for it; None: everything is.
        scalars: names in ``SCALARS``.
        target: "predicted" or "label", the explained class. The class that must stay is always
            the predicted one.
        eps: budgets in pixel units; None means 8/255, and none for attacks that need none.
        norm: "linf" or "l2".
        k: most salient pixels, as a share below 1 or a count.
        target_map: ``(h, w)`` in [0, 1] or a file, the map wanted by "structured" and, where it
            is above one half, the region of "target-region". None: the map of the first image
            (of the second for the first), and the least salient quarter.
        search: options of the searches (see `attacks.descend`, `attacks.evolution` and
            `attacks.pgd`), given to those that have them. With ``rule`` "evolution" maps are
            searched for by that; with ``cross_check`` by both, and the word goes by both.
        options: of saliency methods, likewise.
        methods: further saliency methods, by name. They are attacked, by evolution; without
            ``saliency`` they alone.
        folder: attacked images are kept in ``folder/images``; None means nowhere that lasts.
        seed: of every random draw.
        batch_size: most images the model sees at once; halved when memory runs out.
        workers: processes that read images.
        told: see `Told`.

    Yields:
        One `Batch` of rows per at most 32 images.

    Raises:
        InputError: an unknown name, an impossible number, a method asked for by name that cannot
            be attacked or measured, or images that cannot be read at all.
    """
    tell, advance, begin, expect = listeners(told)
    shard = told.get("shard", (0, 1))
    saved = saved or Economy()
    options, search = options or {}, search or {}
    every = {**METHODS, **(methods or {})}
    by_evolution = search_of(search) == EVOLUTION
    attacks = list(dict.fromkeys(attacks))
    scalars = list(dict.fromkeys(scalars))
    check_attack(
        attacks,
        [*(name for name in saliency or () if name != ALL), *(measure or ())],
        scalars,
        eps=eps,
        norm=norm,
        search=search,
        known=every,
    )
    for scalar in scalars:
        model.scalar(scalar)
    everything = ALL in (saliency or ())
    # The random map of an image stays as it is under any attack.
    measurable = [name for name in every if name != "random" and not every[name].needs]
    named = [*(saliency or ()), *(methods or {})]
    by_default = [name for name in METHODS_BY_DEFAULT if name not in saved.unattacked]
    wanted = measurable if everything else list(dict.fromkeys(named or by_default))
    chosen = bool(named) and not everything
    maps_attacked = any(ATTACKS[name].goal for name in attacks)
    channels, height, width = model.input_shape
    check_channels(channels)
    pixels = pixel_count(k, height * width)
    at_once = min(IMAGES_AT_ONCE, batch_size)
    device = model.mean.device
    smooth = str(search.get("smooth", "exact-forward"))
    fast = model.precision != "fp32"
    precise = model.replaced(model.network, precision="fp32") if fast else model

    with model.audited(), ExitStack() as stack:
        known, labels, names = first_images(data, 2, at_once, device=device, workers=workers)
        model.check(known)
        classes = predict(model, known, batch_size=at_once).argmax(1)
        if target == "label":
            classes = labels.where(labels >= 0, classes)
        tried: dict[str, Any] = {
            "scalar": scalars[0],
            "options": options,
            "methods": every,
            "tell": tell,
        }
        attacked: list[str] = []
        if maps_attacked and by_evolution:
            attacked = supported(wanted, precise, known[:1], classes[:1], refuse=chosen, **tried)
            if not attacked:
                raise UnsupportedError(f"no map of {model.name} can be made; --attack pgd works")
        elif maps_attacked:
            attacked = attackable(
                wanted, precise, known[:1], classes[:1], smooth=smooth, refuse=chosen, **tried
            )
        # With nothing but the prediction attacked, what is asked for can only be measured.
        asked = measure or (None if maps_attacked or everything else saliency)
        measured = supported(
            list(dict.fromkeys(asked or [n for n in measurable if n not in saved.unmeasured])),
            model,
            known[:1],
            classes[:1],
            refuse=asked is not None,
            option="--measure" if measure else "--saliency",
            **tried,
        )
        measured = list(dict.fromkeys((*attacked, *measured)))
        kind: Any = None if smooth == "none" else smooth
        followed = not attacked or by_evolution or follows(precise, known, classes, smooth=kind)
        if not followed:
            why = "no stand-in was asked for" if kind is None else "no stand-in for them is known"
            tell(
                f"WARNING: maps of {model.name} change with the image, yet their derivative is 0: "
                f"its activations have kinks, and {why}; no attack can follow such maps, so none "
                "is called steady"
            )
        work = jobs(
            attacks,
            attacked,
            scalars,
            eps=eps,
            norm=norm,
            default_eps=EPS,
            search=search_of(search),
            cross_check=bool(search.get("cross_check")),
        )
        if isinstance(target_map, Path):
            target_map = load_picture(target_map, (height, width), option="--target-map")
        targets = Targets(
            None if target_map is None else target_map.to(device),
            known,
            names,
            model,
            seed=seed,
            batch_size=at_once,
            options=options,
            methods=every,
        )
        targets.check({job.wants for job in work})
        work = possible(
            work,
            precise,
            known[:1],
            classes[:1],
            overrides=search,
            goal_options={"k": pixels, "seed": seed},
            options=options,
            methods=every,
            tell=tell,
        )
        run = Run(
            model,
            precise,
            measured=measured,
            scalars=scalars,
            target=target,
            targets=targets,
            folder=(folder or Path(stack.enter_context(TemporaryDirectory()))) / "images",
            k=pixels,
            draws=DRAWS,
            seed=seed,
            search=search,
            options=options,
            methods=every,
            followed=followed,
            tell=tell,
            count=_progress(advance, lambda: run.work(work) * mine),
        )
        seen: dict[Job, list[float]] = {}
        done = begin()
        mine = images_of(len(data), at_once, shard=shard, done=done)
        if not methods:
            smoothed = len(stand_ins(work, search)) if followed and smooth != "none" else 0
            part = of_batches(mine, at_once)
            each = passes_of_image(run, work, smoothed, at_once=part, batch_size=batch_size)
            expect(each * mine)
        for batch in batches(
            data, batch_size=at_once, workers=workers, device=device, skip=done, shard=shard
        ):
            rows, examples = failure_rows(batch, model.name), []
            if batch.names:
                made = AttackedBatch(run, batch, batch_size=batch_size)
                if any(job.attack != RANDOM and job.search == GRADIENT for job in work):
                    rows += made.rows_of_completeness()
                for stand_in in stand_ins(work, search):
                    rows += made.rows_of_stand_in(*stand_in, scalars[0])
                for job in work:
                    if job.attack != RANDOM:
                        rows += made.rows_of_job(job)
                rows += made.rows_of_controls(work)
                rows += made.rows_of_worst_case()
                rows += made.without_map
                batch_size = made.batch_size
                examples = made.examples(worst_so_far(seen, made.similar))
            yield Batch(batch.index, rows, examples)


def check_attack(
    attacks: Sequence[str],
    methods: Sequence[str],
    scalars: Sequence[str],
    *,
    eps: Sequence[float] | None,
    norm: str,
    search: Mapping[str, Any],
    known: Mapping[str, Any] = METHODS,
) -> None:
    """Refuse what no registry has and numbers that no search can work with.

    Args:
        attacks: names of attacks.
        methods: names of saliency methods, attacked or measured.
        scalars: names of scalars.
        eps: budgets.
        norm: of the budgets.
        search: options of the searches.
        known: saliency methods by name.

    Raises:
        InputError: one line with the value and what to give instead.
    """
    for kind, registry, names in (
        ("attack", ATTACKS, attacks),
        ("saliency method", known, methods),
        ("scalar", SCALARS, scalars),
        ("norm", {"linf": None, "l2": None}, [norm]),
    ):
        for name in names:
            lookup(kind, registry, name)
    _check_search(attacks, search)
    if not attacks or not scalars:
        raise InputError("nothing to attack: name at least one attack and one scalar")
    if norm == "l2" and not eps and any(ATTACKS[name].budgeted for name in attacks):
        raise InputError(
            option="norm", value="l2", fix="it needs a budget in pixel units; give eps, such as 2"
        )
    for size in eps or ():
        if size < 0 or 0 < size < 1 / 256:
            raise InputError(
                option="eps",
                value=size,
                fix="images have 8 bits, so give 1/255 or more, such as 8/255",
            )
    if search.get("restarts", 1) > 1 and not eps:
        endless = [name for name in attacks if not ATTACKS[name].budgeted]
        if endless:
            raise InputError(
                option="restarts",
                value=search["restarts"],
                fix=f"they are drawn within a budget; add eps for {endless[0]}",
            )
    for name in ("steps", "restarts", "step_size", "beta", "std"):
        if not search.get(name, 1) > 0:
            raise InputError(option=name, value=search[name], fix="give more than 0")
    for name in attacks:
        chosen = search_options(name, search)
        if chosen.get("rule") == "adam" and (chosen.get("momentum") or name == "pgd"):
            other = "pgd" if name == "pgd" else "momentum"
            raise InputError(
                option="search", value="adam", fix=f"it does not go with {other}; give sign"
            )


def _check_search(attacks: Sequence[str], search: Mapping[str, Any]) -> None:
    """Refuse a search that does not go with the attacks, and options of the other one.

    Raises:
        InputError: one line with what to leave.
    """
    evolution = search_of(search) == EVOLUTION
    if evolution:
        others = [name for name in attacks if name != RANDOM and not ATTACKS[name].goal]
        if others:
            raise InputError(
                option="search",
                value=EVOLUTION,
                fix=f"it is for attacks on maps, which {others[0]} is not; leave one of them",
            )
        if search.get("cross_check"):
            raise InputError(
                "--cross-check compares what the gradient finds with --search evolution, which is "
                "the only search here; leave one of them"
            )
    if search.get("population", 2) < 2:
        raise InputError(option="population", value=search["population"], fix="give 2 or more")
    if not evolution and not search.get("cross_check"):
        shared = {option.key for option in SEARCHES[GRADIENT].options}
        for option in SEARCHES[EVOLUTION].options:
            if option.key in search and option.key not in shared:
                raise InputError(
                    f"{option.flag} is for --search evolution; leave it or ask for that",
                    option=option.name,
                )


def stand_ins(work: Sequence[Job], search: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Kind and beta of each smooth stand-in the jobs use; where beta grows, where it starts."""
    found: dict[tuple[str, float], None] = {}
    for job in work:
        if job.saliency and job.search == GRADIENT:
            chosen = {"smooth": "exact-forward", "beta": 30.0, **search_options(job.attack, search)}
            beta = 10.0 if chosen.get("beta_growth") else float(chosen["beta"])
            found[str(chosen["smooth"]), beta] = None
    return list(found)


def worst_so_far(
    seen: dict[Job, list[float]], similar: Mapping[Job, Tensor]
) -> dict[Job, list[int]]:
    """The images of a batch whose maps are among the ``EXAMPLES`` least alike of the run so far.

    Args:
        seen: the least values of each job so far; brought up to date.
        similar: of this batch, ``(n,)``.
    """
    chosen: dict[Job, list[int]] = {}
    for job, values in similar.items():
        least = seen.setdefault(job, [])
        for i, value in enumerate(values.tolist()):
            if value == value and (len(least) < EXAMPLES or value < least[-1]):
                chosen.setdefault(job, []).append(i)
                least[:] = sorted([*least, value])[:EXAMPLES]
    return chosen


def _progress(
    advance: Callable[[int, int], None], whole: Callable[[], float]
) -> Callable[[float], None]:
    """Adds up work and tells how far it is."""
    made = 0.0

    def count(work: float) -> None:
        nonlocal made
        made += work
        total = max(1, round(whole()))
        advance(min(round(made), total), total)

    return count
