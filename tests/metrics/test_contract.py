"""What every metric of `evaluate` promises, whatever it measures."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from saliency_audit.attacks import ATTACKS
from saliency_audit.audits import explain
from saliency_audit.data.trigger import Trigger
from saliency_audit.metrics import CHECKS, METRICS, View
from saliency_audit.models import Classifier
from saliency_audit.models.manifold import Manifold, ManifoldDesign, Subspace
from saliency_audit.seeding import generators
from saliency_audit.training.planted import Planted
from saliency_audit.training.retrain import Anew
from tests.conftest import plain_cnn

every_metric = pytest.mark.parametrize(
    # Those that train networks, or make images, are shown none.
    "name",
    [name for name, metric in METRICS.items() if metric.of not in ("training", "samples")],
)
of_maps = pytest.mark.parametrize(
    "name", [name for name, metric in METRICS.items() if metric.of in ("map", "method")]
)
of_map_alone = pytest.mark.parametrize(
    "name", [name for name, metric in METRICS.items() if metric.of == "map"]
)
FEW = {
    "steps": 6,
    "points": 5,
    "counts": (2, 5),
    "draws": 1,
    "stages": 2,
    "perturbations": 3,
    "attack_steps": 2,
    "level_draws": 4,
    "midpoints": 4,
}


def maps_of(
    model, images, targets, *, names, method="gradient", scalar="logit", seed=0, batch_size=64
):
    return explain(
        method,
        model,
        images,
        targets,
        names=names,
        scalar=scalar,
        seed=seed,
        batch_size=batch_size,
        options={"samples": 3},
    )


def attacked(model, images, *, names, attack="pgd", **options):
    draws = generators(0, names, attack)
    return ATTACKS[attack].function(model, None, None, images, None, generators=draws, **options)


def view_of(model, images, *, saliency=None, names="abcd", batch_size=64, method="gradient"):
    names = list(names)[: len(images)]
    with torch.no_grad():
        logits = model(images)
    targets = logits.argmax(1)
    labels = targets.clone()
    labels[-1] = -1
    if saliency is None:
        saliency = maps_of(model, images, targets, names=names, method=method)
    marked = torch.zeros(len(images), *images.shape[2:])
    for i, name in enumerate(names):
        row = "abcd".index(name)
        marked[i, row : row + 4, 2:9] = 1
    return View(
        model=model,
        images=images,
        names=names,
        labels=labels,
        targets=targets,
        logits=logits,
        method=method,
        saliency=saliency,
        explain=partial(maps_of, method=method),
        batch_size=batch_size,
        seed=0,
        beside={
            "other": other_model(),
            "annotations": marked,
            "train": Trained(model),
            "manifold": plane(images.shape[1:]),
        },
        attack=attacked,
    )


def plane(shape):
    """Of two directions, through mid-grey."""
    size = shape.numel()
    draw = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(size, 2, generator=draw))[0].T.contiguous()
    return Manifold(ManifoldDesign("pca", tuple(shape), 2), Subspace(torch.zeros(size), basis))


class Trained:
    """What gives trained networks: a copy that is the model itself, and others unlike it."""

    def __init__(self, copy):
        self.copy = copy

    def __call__(self, model, *, seed, **options):
        return Planted(self.copy, Trigger(3, 0.7, (0, 1)), 1.0, 1.0)

    def network(self, kind, model):
        return Anew(other_model(), 1.0, constant=False)


def other_model():
    network = plain_cnn(lambda: torch.nn.ReLU())
    generator = torch.Generator().manual_seed(9)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return Classifier(network.eval(), input_shape=(3, 12, 16)).requires_grad_(False)


def measure(name, view):
    from inspect import signature

    function = METRICS[name].function
    known = signature(function).parameters
    return function(view, **{key: value for key, value in FEW.items() if key in known})


def values(name, view):
    return {(one.check or name, one.setting): one.values for one in measure(name, view)}


@pytest.fixture
def model(cnn):
    return cnn.requires_grad_(False).eval()


@every_metric
def test_one_value_per_image_under_names_that_are_registered(name, model, images):
    found = measure(name, view_of(model, images))

    assert found
    assert name in {one.check or name for one in found}
    for one in found:
        check = one.check or name
        assert check in METRICS[name].checks
        assert one.values.shape == (4,)
        low, high = CHECKS[check].bounds
        finite = one.values[one.values.isfinite()].double()
        assert ((finite >= low - 1e-6) & (finite <= high + 1e-6)).all()
        assert all("=" in part for part in one.setting.split(";") if part)
        if one.curve is not None:
            assert one.curve.shape == (4, len(one.x))
            assert list(one.x) == sorted(one.x)
    assert len({(one.check, one.setting) for one in found if one.rows}) == sum(
        one.rows for one in found
    )


ROUND_OFF = {"completeness": 2e-3}
"""Of fp32, which adds up otherwise in another batch: half a level moves a logit by little."""


@every_metric
def test_values_do_not_depend_on_the_batch(name, model, images):
    whole = values(name, view_of(model, images))
    small = values(name, view_of(model, images, batch_size=3))
    turned = values(name, view_of(model, images.flip(0), names="dcba"))
    alone = [values(name, view_of(model, images[i : i + 1], names="abcd"[i])) for i in range(4)]

    for key, value in whole.items():
        # The last image has no label: which one is last depends on the batch.
        kept = slice(0, 3)
        loose = ROUND_OFF.get(name, 1e-4)
        close = partial(torch.testing.assert_close, rtol=1e-3, atol=loose, equal_nan=True)
        close(small[key], value)
        labelled = slice(1, 3)
        close(turned[key].flip(0)[labelled], value[labelled])
        if "labels" not in METRICS[name].needs:
            close(torch.cat([one[key] for one in alone])[kept], value[kept])


@of_map_alone
@pytest.mark.parametrize("scale", [1e-6, 7.0, 1e6])
def test_the_scale_of_a_map_does_not_matter(name, scale, model, images):
    view = view_of(model, images)
    scaled = values(name, replace(view, saliency=view.saliency * scale, known={}))

    for key, value in values(name, view).items():
        torch.testing.assert_close(scaled[key], value, rtol=1e-3, atol=1e-5, equal_nan=True)


@of_map_alone
def test_a_map_of_one_channel_means_the_same_as_three_equal_ones(name, model, images):
    one = torch.rand(4, 1, 12, 16, generator=torch.Generator().manual_seed(0))
    narrow = values(name, view_of(model, images, saliency=one))
    wide = values(name, view_of(model, images, saliency=one.expand(4, 3, 12, 16)))

    for key, value in narrow.items():
        torch.testing.assert_close(wide[key], value, rtol=1e-4, atol=1e-5, equal_nan=True)


OF_OTHER_MAPS = (
    "class-evidence",
    "label-randomisation-agreement",
    *METRICS["known-answer"].checks,
    *METRICS["retrained-stability"].checks,
)
OF_OUTPUT = ("sanity-cascade-logit-spread", "sanity-cascade-output-change")


@of_maps
@pytest.mark.parametrize("bad", [0.0, 1.0, torch.nan, torch.inf])
def test_a_map_that_says_nothing_is_undefined_and_leaves_the_others(name, bad, model, images):
    view = view_of(model, images)
    saliency = view.saliency.clone()
    saliency[1] = bad
    broken = values(name, replace(view, saliency=saliency, known={}, shared_by_method={}))

    for key, value in values(name, view).items():
        if key[0] in (*OF_OUTPUT, "pointing-game-chance", *OF_OTHER_MAPS):
            continue  # these do not read the map that was given
        assert broken[key][1].isnan(), key
        kept = [0, 2, 3]
        torch.testing.assert_close(
            broken[key][kept], value[kept], rtol=1e-4, atol=1e-5, equal_nan=True
        )


@every_metric
def test_the_same_seed_gives_the_same_bits(name, model, images):
    first, second = (values(name, view_of(model, images)) for _ in range(2))
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value.nan_to_num(-9), second[key].nan_to_num(-9))


@every_metric
def test_weights_images_and_maps_stay_as_they_are(name, model, images):
    view = view_of(model, images)
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    pixels, saliency = images.clone(), view.saliency.clone()
    state = torch.get_rng_state()
    measure(name, view)

    assert torch.equal(images, pixels)
    assert torch.equal(view.saliency, saliency)
    assert torch.equal(torch.get_rng_state(), state)
    for key, value in model.state_dict().items():
        assert torch.equal(value, weights[key])


@every_metric
def test_the_model_never_sees_more_images_than_the_batch_size(name, model, images):
    seen = []
    handle = model.network.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    view = view_of(model, images, batch_size=5)
    seen.clear()
    try:
        # What explains again keeps to the limit itself; see the tests of the methods.
        measure(name, replace(view, explain=partial(view.explain, batch_size=5)))
    finally:
        handle.remove()
    assert not seen or max(seen) <= 5


@every_metric
def test_one_grey_image(name):
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 60, 4)
    )
    grey = Classifier(network.eval(), input_shape=(1, 12, 8)).requires_grad_(False)
    image = torch.rand(1, 1, 12, 8)
    view = view_of(grey, image)
    view = replace(view, beside={**view.beside, "other": grey}, labels=torch.tensor([0]))

    assert any(one.values.isfinite().all() for one in measure(name, view))


@every_metric
def test_what_is_looked_at_without_a_gradient_is_declared(name, cnn, images, monkeypatch):
    """``--compile`` is refused where no metric says so, and heard where one does."""
    view = view_of(cnn.requires_grad_(False), images)
    seen = []
    scores = cnn.scores
    monkeypatch.setattr(cnn, "scores", lambda pictures: seen.append(pictures) or scores(pictures))
    measure(name, view)
    assert bool(seen) == METRICS[name].scores
