"""The sanity checks: closed forms, literal computations and what must not happen."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from saliency_audit.audits import explain
from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.metrics import View
from saliency_audit.metrics.sanity import sanity_cascade, sanity_independent
from saliency_audit.metrics.ssim import ssim
from saliency_audit.models import Classifier, randomised, weight_layers

BOTH = [sanity_cascade, sanity_independent]
both = pytest.mark.parametrize("metric", BOTH)


def view_of(model, images, *, names="abcd", method="gradient", batch_size=64, **changes):
    names = list(names)[: len(images)]
    logits = model(images)
    targets = logits.argmax(1)

    def maps_of(model, images, targets, *, names):
        return explain(
            method,
            model,
            images,
            targets,
            names=names,
            scalar="logit",
            seed=0,
            batch_size=batch_size,
            options={"samples": 3},
        )

    view = View(
        model=model,
        images=images,
        names=names,
        labels=targets,
        targets=targets,
        logits=logits,
        method=method,
        saliency=maps_of(model, images, targets, names=names),
        explain=maps_of,
        batch_size=batch_size,
        seed=0,
    )
    return replace(view, **changes)


def by_setting(found, check):
    return {one.setting: one for one in found if one.check == check and one.rows}


def answer(found, name="sanity-cascade"):
    end = "randomised=all" if "cascade" in name else "randomised=each"
    (one,) = (one for s, one in by_setting(found, name).items() if s.endswith(end))
    return one


def spearman(a, b):
    return scipy.stats.spearmanr(a.flatten(), b.flatten()).statistic


@pytest.fixture
def model(cnn):
    return cnn.requires_grad_(False)


@pytest.fixture
def deep():
    """A ReLU CNN with random weights on images large enough for correlations to be small."""
    torch.manual_seed(5)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 16, 5, padding=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 400, 6),
    )
    return Classifier(network.eval(), input_shape=(3, 20, 20)).requires_grad_(False)


def test_a_shuffled_linear_model_has_the_shuffled_row_as_its_map():
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 10, 4))
    model = Classifier(network, input_shape=(3, 12, 10)).requires_grad_(False)
    images = torch.rand(3, 3, 12, 10)
    view = view_of(model, images)
    found = sanity_cascade(view, randomise="shuffle", draws=2)

    weight = network[1].weight
    expected = []
    for draw in range(2):
        with randomised(how="shuffle", seed=0, draw=draw) as randomise:
            randomise(weight_layers(model, images)[0])
            shuffled = weight.clone()
        assert not torch.equal(shuffled, weight)
        rows = [
            (weight[k].view(3, 12, 10), shuffled[k].view(3, 12, 10)) for k in view.targets.tolist()
        ]
        expected.append(
            [
                [spearman(a.abs().mean(0), b.abs().mean(0)) for a, b in rows],
                [spearman(a.mean(0), b.mean(0)) for a, b in rows],
                [float(ssim(*(x.abs().mean(0)[None] for x in pair))) for pair in rows],
                [float(b.double().norm() / a.double().norm()) for a, b in rows],
            ]
        )
    literal = np.mean(expected, axis=0)
    for check, values in zip(("", "-signed", "-ssim", "-map-norm"), literal, strict=True):
        ours = answer(found, f"sanity-cascade{check}").values
        np.testing.assert_allclose(ours, values, atol=1e-6)
    assert answer(found).setting == "randomise=shuffle;draws=2;randomised=all"
    (mean,) = (one for s, one in by_setting(found, "sanity-cascade").items() if "=mean" in s)
    assert mean.setting == "randomise=shuffle;draws=2;stages=1;randomised=mean"
    np.testing.assert_allclose(mean.values, literal[0], atol=1e-6)
    assert answer(found, "sanity-cascade-ssim").setting == (
        "randomise=shuffle;draws=2;window=7;ssim_range=1;randomised=all"
    )


def test_the_cascade_goes_from_the_output_to_the_input_cumulatively(model, images):
    view = view_of(model, images)
    found = by_setting(
        sanity_cascade(view, randomise="reinit", draws=2, stages=0), "sanity-cascade"
    )
    start = "randomise=reinit;draws=2;randomised="
    assert list(found) == [
        start + "1/4;layer=8",
        start + "2/4;layer=4",
        start + "3/4;layer=1",
        start + "all",
        "randomise=reinit;draws=2;stages=4;randomised=mean",
    ]
    layers = weight_layers(model, images)[::-1]
    for count, one in enumerate(list(found.values())[:4], start=1):
        values = []
        for draw in range(2):
            with randomised(how="reinit", seed=0, draw=draw) as randomise:
                for layer in layers[:count]:
                    randomise(layer)
                maps = view.explain(model, images, view.targets, names=view.names)
            pairs = zip(view.saliency.abs().mean(1), maps.abs().mean(1), strict=True)
            values.append([spearman(a, b) for a, b in pairs])
        np.testing.assert_allclose(one.values, np.mean(values, 0), atol=1e-12)


def test_curves_start_at_the_map_itself_and_the_answer_leaves_it_out(model, images):
    found = sanity_cascade(view_of(model, images), stages=0)
    for check in ("", "-signed", "-ssim", "-hog", "-map-norm", "-logit-spread"):
        one = answer(found, f"sanity-cascade{check}")
        assert one.x == [0, 1, 2, 3, 4]
        assert one.curve[:, 0] == pytest.approx(1, abs=1e-9)
        assert torch.equal(one.curve[:, -1], one.values)
    curves = [one for one in found if one.curve is not None]
    assert len(curves) == 6


def test_stages_are_some_of_all_layers(model, images):
    view = view_of(model, images)
    every = answer(sanity_cascade(view, stages=0))
    for stages, x in ((1, [0, 4]), (2, [0, 1, 4]), (3, [0, 1, 3, 4]), (9, [0, 1, 2, 3, 4])):
        some = answer(sanity_cascade(view, stages=stages))
        assert some.x == x
        assert torch.equal(some.curve, every.curve[:, x])


def test_one_layer_at_a_time(model, images):
    view = view_of(model, images)
    found = sanity_independent(view, randomise="shuffle", draws=1, stages=0)
    rows = by_setting(found, "sanity-independent")
    start = "randomise=shuffle;draws=1;"
    assert list(rows) == [
        *(f"{start}randomised=only;layer={name}" for name in "8410"),
        f"{start}layers=4/4;randomised=each",
    ]
    values = []
    for layer in weight_layers(model, images)[::-1]:
        with randomised(how="shuffle", seed=0) as randomise:
            randomise(layer)
            maps = view.explain(model, images, view.targets, names=view.names)
        pairs = zip(view.saliency.abs().mean(1), maps.abs().mean(1), strict=True)
        values.append([spearman(a, b) for a, b in pairs])
    one = answer(found, "sanity-independent")
    np.testing.assert_allclose(one.curve.T, values, atol=1e-12)
    np.testing.assert_allclose(one.values, np.mean(values, 0), atol=1e-12)
    assert one.x == [1, 2, 3, 4]


@pytest.mark.parametrize("how", ["reinit", "shuffle"])
def test_a_gradient_forgets_and_an_edge_detector_does_not(how, deep):
    images = torch.rand(4, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    gradient = answer(sanity_cascade(view_of(deep, images), randomise=how, draws=3)).values
    assert gradient.mean().abs() < 0.2
    for control in (False, True):  # recomputed, and not
        edges = view_of(deep, images, method="sobel", control=control)
        for metric in BOTH:
            for one in metric(edges, randomise=how, draws=1):
                if not one.check.endswith(("-spread", "-change")):
                    assert one.values == pytest.approx(1, abs=1e-9), one.setting


def test_a_control_costs_no_pass_but_the_one_that_finds_the_layers(deep):
    images = torch.rand(4, 3, 20, 20)
    view = view_of(deep, images, method="sobel", control=True, draw=True)
    before = deep.passes
    found = sanity_cascade(view, stages=0)
    sanity_independent(view)
    assert deep.passes == before + 1
    assert not any("spread" in one.check for one in found)
    assert list(answer(found).pictures) == ["randomised=1/3", "randomised=2/3", "randomised=all"]


def test_stochastic_methods_see_the_same_noise(deep):
    images = torch.rand(2, 3, 20, 20)
    view = view_of(deep, images, method="smoothgrad")
    seen = []

    def explained(model, images, targets, *, names):
        seen.append(list(names))
        return view.explain(model, images, targets, names=names)

    sanity_cascade(replace(view, explain=explained), draws=1, stages=0)
    assert seen == [view.names] * 3
    # Weights that a shuffle cannot change: the map comes out as it was.
    for weight in deep.parameters():
        weight.fill_(0.01)
    even = view_of(deep, images, method="smoothgrad")
    found = sanity_cascade(even, randomise="shuffle")
    assert answer(found, "sanity-cascade-map-norm").values == pytest.approx(1, abs=1e-12)


@both
def test_images_do_not_depend_on_their_batch(metric, model, images):
    whole = metric(view_of(model, images), stages=3)
    small = metric(view_of(model, images, batch_size=3), stages=3)
    turned = metric(view_of(model, images.flip(0), names="dcba"), stages=3)
    alone = [metric(view_of(model, images[i : i + 1], names="abcd"[i]), stages=3) for i in range(4)]
    for i, one in enumerate(whole):
        close = partial(torch.testing.assert_close, rtol=1e-3, atol=1e-4)
        close(small[i].values, one.values)
        close(turned[i].values.flip(0), one.values)
        close(torch.cat([each[i].values for each in alone]), one.values)


@both
@pytest.mark.parametrize("bad", [0.0, 2.0, torch.nan, torch.inf])
def test_undefined_maps_stay_undefined(metric, bad, model, images):
    view = view_of(model, images)
    view.saliency[1] = bad
    for one in metric(view):
        if one.check.endswith(("-spread", "-change")):
            continue
        assert one.values.isnan().tolist() == [False, True, False, False]
        if one.curve is not None:
            assert one.curve.isnan().all(1).tolist() == [False, True, False, False]


def test_a_map_that_vanishes_in_one_draw_is_undefined_and_its_norm_says_why(model, images):
    view = view_of(model, images)
    calls = []

    def vanishing(model, images, targets, *, names):
        calls.append(0)
        maps = view.explain(model, images, targets, names=names)
        return maps * 0 if len(calls) == 1 else maps

    found = sanity_cascade(replace(view, explain=vanishing), stages=1, draws=2)
    for version in ("", "-signed", "-ssim", "-hog"):
        assert answer(found, f"sanity-cascade{version}").values.isnan().all()
    assert (answer(found, "sanity-cascade-map-norm").values > 0).all()


def test_tiny_gradients_still_rank(model, images):
    view = view_of(model, images)
    tiny = replace(
        view,
        saliency=view.saliency * 1e-12,
        explain=lambda *args, **options: view.explain(*args, **options) * 1e-15,
        known={},
    )
    expected = sanity_cascade(view, stages=0)
    for one, other in zip(sanity_cascade(tiny, stages=0), expected, strict=True):
        scale = 1e-3 if "norm" in one.check else 1
        torch.testing.assert_close(one.values / scale, other.values, rtol=1e-4, atol=1e-5)


def test_the_spread_of_the_logits_comes_once_a_batch(model, images):
    view = view_of(model, images)
    found = sanity_cascade(view, randomise="shuffle", draws=1)
    (one,) = (one for one in found if one.check == "sanity-cascade-logit-spread")
    assert one.saliency == ""
    with randomised(how="shuffle", seed=0) as randomise:
        for layer in weight_layers(model, images):
            randomise(layer)
        expected = model(images).double().std(1) / view.logits.double().std(1)
    torch.testing.assert_close(one.values, expected)
    again = sanity_cascade(replace(view, method="other"), randomise="shuffle", draws=1)
    assert len(again) == len(found) - 2


def test_the_change_of_the_output_is_that_of_centred_logits(model, images):
    view = view_of(model, images)
    found = sanity_cascade(view, randomise="shuffle", draws=1)
    (one,) = (one for one in found if one.check == "sanity-cascade-output-change")
    with randomised(how="shuffle", seed=0) as randomise:
        for layer in weight_layers(model, images):
            randomise(layer)
        now = model(images).double().numpy()
    given = view.logits.double().numpy()
    for i, (after, before) in enumerate(zip(now, given, strict=True)):
        moved = (after - after.mean()) - (before - before.mean())
        size = np.sqrt(np.sum((before - before.mean()) ** 2))
        assert float(one.values[i]) == pytest.approx(np.sqrt(np.sum(moved**2)) / size, rel=1e-5)


class Frozen(nn.Module):
    """A network that stands in constants, beside weights that hardly do anything."""

    def __init__(self, inner, share):
        super().__init__()
        self.inner, self.share = [inner], share
        self.beside = nn.Sequential(nn.Flatten(), nn.Linear(inner.input_shape.numel(), 5))

    def forward(self, x):
        return self.inner[0](x) + self.share * self.beside(x)


@pytest.mark.parametrize(("share", "defined"), [(0.0, False), (1e-4, False), (3.0, True)])
def test_weights_that_reach_nothing_leave_the_cascade_undefined(share, defined, images):
    shape = images.shape[1:]
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Flatten(), nn.Linear(shape.numel(), 5))
    inner.input_shape = shape
    frozen = Classifier(Frozen(inner, share).eval(), input_shape=tuple(shape))
    frozen.requires_grad_(False)
    found = sanity_cascade(view_of(frozen, images))
    assert bool(answer(found).values.isfinite().all()) is defined
    assert bool(answer(found).values.isnan().all()) is not defined


def test_pictures_are_the_first_images_maps_of_the_first_draw(model, images):
    view = view_of(model, images, draw=True)
    drawn = answer(sanity_cascade(view, randomise="shuffle", stages=0)).pictures
    assert list(drawn) == [f"randomised={k}/4" for k in (1, 2, 3)] + ["randomised=all"]
    with randomised(how="shuffle", seed=0) as randomise:
        for layer in weight_layers(model, images):
            randomise(layer)
        maps = view.explain(model, images, view.targets, names=view.names)
    assert torch.equal(drawn["randomised=all"], maps[0].mean(0))


@both
def test_an_error_on_the_way_leaves_the_weights_as_they_were(metric, model, images):
    view = view_of(model, images)
    before = {key: value.clone() for key, value in model.state_dict().items()}

    def failing(*args, **options):
        raise torch.OutOfMemoryError("of memory")

    with pytest.raises(torch.OutOfMemoryError):
        metric(replace(view, explain=failing))
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


@both
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws": 0}, "--draws is 0"),
        ({"stages": -1}, "--stages is -1"),
        ({"randomise": "zero"}, "--randomise is 'zero'"),
        ({"window": 4}, "window is 4"),
        ({"ssim_range": 3.0}, "ssim-range is 3"),
    ],
)
def test_options_without_meaning_are_refused(metric, options, message, model, images):
    with pytest.raises(InputError, match=message):
        metric(view_of(model, images), **options)


@both
def test_reinit_is_refused_where_a_layer_has_no_initialisation(metric, linear):
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.rand(3, 32))

        def forward(self, images):
            return images.flatten(1) @ self.weight.T

    model = Classifier(Bare(), input_shape=(2, 4, 4)).requires_grad_(False)
    view = view_of(model, torch.rand(2, 2, 4, 4))
    with pytest.raises(UnsupportedError, match=r"'weight'.*--randomise shuffle works"):
        metric(view, randomise="reinit")
    assert metric(view)[0].setting.startswith("randomise=shuffle")
    # Tensors that are no parameters cannot be found.
    with pytest.raises(UnsupportedError, match="no weights"):
        metric(view_of(linear, torch.rand(2, 2, 4, 4).double()))
