"""Replacing pixels in the order of a map: closed forms, identities and a literal computation."""

from dataclasses import replace
from inspect import signature
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import nn

from saliency_audit.errors import InputError
from saliency_audit.metrics import View
from saliency_audit.metrics.aopc import aopc
from saliency_audit.metrics.deletion import (
    deletion,
    deletion_gap,
    density_perturbation,
    discriminative,
    insertion,
    preservation,
)
from saliency_audit.metrics.fill import filled
from saliency_audit.metrics.perturbation import most_relevant_first
from saliency_audit.metrics.retrieval import retrieval_rate, revealed
from saliency_audit.models import Classifier

ALL = [
    deletion,
    preservation,
    insertion,
    deletion_gap,
    discriminative,
    density_perturbation,
    aopc,
    retrieval_rate,
]
CURVES = [function for function in ALL if function is not retrieval_rate]
FEW = {"steps": 7, "points": 6, "counts": (2, 5)}


class Additive(nn.Module):
    """Probability of class 1: a constant and a share for each pixel's mean over the channels."""

    def __init__(self, shares, constant):
        super().__init__()
        self.shares = shares
        self.constant = constant

    def forward(self, images):
        p = self.constant + (images.mean(1) * self.shares).sum((1, 2))
        return torch.stack([(1 - p).log(), p.log()], dim=1)


class Shifted(nn.Module):
    """The same predictions, all logits plus ten times the brightness."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images) + 10 * images.mean((1, 2, 3)).unsqueeze(1)


class Recording(nn.Module):
    """Keeps what it is shown."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, images):
        self.seen.append(images.clone())
        return torch.stack([images.sum((1, 2, 3)), torch.zeros(len(images))], dim=1)


def view_of(model, images, saliency, *, names="abcd", batch_size=64, **more):
    with torch.no_grad():
        logits = model(images)
    targets = logits.argmax(1)
    given = {
        "model": model,
        "images": images,
        "names": list(names)[: len(images)],
        "labels": targets,
        "targets": targets,
        "logits": logits,
        "method": "map",
        "saliency": saliency,
        "explain": lambda *a, **b: saliency,
        "batch_size": batch_size,
        "seed": 0,
    }
    return View(**(given | more))


def additive(shares, constant=0.1):
    shares = torch.tensor(shares, dtype=torch.float64).view(1, -1)
    model = Classifier(Additive(shares, constant), input_shape=(3, *shares.shape))
    images = torch.ones(1, 3, *shares.shape).double()
    return model, images, shares.view(1, 1, *shares.shape)


def measure(function, view, **options):
    known = signature(function).parameters
    return function(view, **{k: v for k, v in (FEW | options).items() if k in known})


def value(function, view, **options):
    return measure(function, view, **options)[-1].values


def random_map(shape=(4, 3, 12, 16), seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def model(cnn):
    return cnn.requires_grad_(False).eval()


@pytest.fixture
def view(model, images):
    return view_of(model, images, random_map(), dataset_mean=torch.tensor([0.1, 0.2, 0.3]))


SHARES = [0.05, 0.2, 0.01, 0.3, 0.12]


def test_closed_forms_of_an_additive_model():
    model, images, saliency = additive(SHARES)
    view = view_of(model, images, saliency, targets=torch.tensor([1]))
    down, up = sorted(SHARES, reverse=True), sorted(SHARES)

    def expected(shares):
        return 0.1 + sum(share * (i - 0.5) / 5 for i, share in enumerate(shares, start=1))

    options = {"steps": 5, "fill": "zero"}
    assert deletion(view, **options)[0].values == pytest.approx(expected(down), abs=1e-12)
    assert preservation(view, **options)[0].values == pytest.approx(expected(up), abs=1e-12)
    gap = expected(up) - expected(down)
    assert deletion_gap(view, **options)[0].values == pytest.approx(gap, abs=1e-12)
    found = aopc(view, counts=(0, 2, 5), unit="pixel", fill="zero")
    for measured, count in zip(found, (0, 2, 5), strict=True):
        drop = sum(sum(down[:k]) for k in range(count + 1)) / (count + 1)
        assert measured.values == pytest.approx(drop, abs=1e-12)


def test_the_right_order_is_the_best_of_all():
    model, images, _ = additive(SHARES)
    orders = torch.tensor(list(permutations(range(1, 6)))).view(120, 1, 1, 5)
    view = view_of(
        model,
        images.expand(120, -1, -1, -1),
        orders,
        names=[str(i) for i in range(120)],
        targets=torch.ones(120, dtype=torch.long),
    )
    ranks = torch.tensor(SHARES).argsort().argsort() + 1
    best = (orders.view(120, 5) == ranks).all(1).nonzero().item()
    options = {"steps": 5, "fill": "zero"}

    for function, sign in ((deletion, 1), (preservation, -1), (deletion_gap, -1)):
        values = sign * function(view, **options)[0].values
        others = values[torch.arange(120) != best]
        assert values[best] < others.min()
    drops = aopc(view, counts=(4,), unit="pixel", fill="zero")[0].values
    assert drops.argmax() == best


@pytest.mark.parametrize("function", CURVES)
def test_a_constant_model_gives_a_constant(function):
    class Constant(nn.Module):
        def forward(self, images):
            return torch.tensor([[0.0, 1.0]]).expand(len(images), -1)

    model = Classifier(Constant(), input_shape=(3, 12, 16))
    view = view_of(model, torch.rand(4, 3, 12, 16), random_map())
    p = float(torch.tensor([0.0, 1.0]).softmax(0)[1])
    expected = {deletion: p, preservation: p, insertion: p, discriminative: 1.0}.get(function, 0.0)

    assert value(function, view) == pytest.approx([expected] * 4, abs=1e-7)


def test_the_reversed_map_swaps_deletion_and_preservation(view):
    shown = view.saliency.abs().mean(1, keepdim=True)
    turned = replace(view, saliency=shown.max() - shown, shared_by_method={})

    torch.testing.assert_close(value(deletion, turned), value(preservation, view))
    torch.testing.assert_close(value(preservation, turned), value(deletion, view))
    torch.testing.assert_close(value(deletion_gap, turned), -value(deletion_gap, view))


# A literal computation, pixel by pixel.


def literal_curve(view, before, after, scores, counts, score, side=1):
    """Scores of one image at a time, with loops over its squares."""
    curves = []
    height, width = view.images.shape[2:]
    for i in range(len(view.images)):
        squares = [(r, c) for r in range(0, height, side) for c in range(0, width, side)]
        mean = {
            (r, c): scores[i][r : r + side, c : c + side].astype(np.float64).mean()
            for r, c in squares
        }
        squares.sort(key=mean.__getitem__, reverse=True)
        row = []
        for count in counts:
            picture = before[i].clone()
            for r, c in squares[:count]:
                picture[:, r : r + side, c : c + side] = after[i][:, r : r + side, c : c + side]
            row.append(score(picture, i))
        curves.append(row)
    return np.array(curves)


def literal_area(x, curve):
    return sum((x[j + 1] - x[j]) * (curve[:, j] + curve[:, j + 1]) / 2 for j in range(len(x) - 1))


def probability_of(view):
    return lambda image, i: float(
        view.model(image[None]).double().softmax(1)[0, int(view.targets[i])]
    )


def shown(view, reduce="mean"):
    maps = view.saliency.double().numpy()
    return np.abs(maps).mean(1) if reduce == "mean" else maps.std(1, ddof=1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fill", ["model-mean", "zero", "image-mean", "noise", "dataset-mean"])
def test_probability_areas_equal_a_literal_computation(fill, channels, view):
    view = replace(view, saliency=view.saliency[:, :channels], shared_by_method={})
    counts = [round(192 * j / 7) for j in range(8)]
    x = [k / 192 for k in counts]
    picture = filled(view, fill)
    for function, sign in ((deletion, 1), (preservation, -1)):
        expected = literal_curve(
            view, view.images, picture, sign * shown(view), counts, probability_of(view)
        )
        (found,) = function(view, steps=7, fill=fill)
        assert list(found.x) == x
        np.testing.assert_allclose(found.curve, expected, atol=1e-6)
        np.testing.assert_allclose(found.values, literal_area(x, expected), atol=1e-6)
        assert found.setting == f"steps=7;fill={fill};reduce=mean"
    if fill == "model-mean":
        expected = literal_curve(
            view, filled(view, "blur"), view.images, shown(view), counts, probability_of(view)
        )
        (found,) = insertion(view, steps=7)
        np.testing.assert_allclose(found.curve, expected, atol=1e-6)
        np.testing.assert_allclose(found.values, literal_area(x, expected), atol=1e-6)


@pytest.mark.parametrize("reduce", ["mean", "std"])
def test_p0_measures_equal_a_literal_computation(reduce, view):
    view = replace(view, labels=torch.tensor([0, 1, 2, 3]))
    counts = [0] + [int(np.floor(q * 192)) for q in np.logspace(-2, 0, 6)]
    x = [k / 192 for k in counts]
    picture = filled(view, "image-mean")

    def right(image, i):
        return float(view.model(image[None]).argmax(1) == view.labels[i])

    def change(image, i):
        y = int(view.targets[i])
        return float(view.model(image[None])[0, y] - view.model(view.images[i : i + 1])[0, y])

    for function, score in ((discriminative, right), (density_perturbation, change)):
        expected = literal_curve(view, view.images, picture, -shown(view, reduce), counts, score)
        (found,) = function(view, points=6, reduce=reduce)
        np.testing.assert_allclose(found.x, x)
        np.testing.assert_allclose(found.curve, expected, atol=1e-5)
        np.testing.assert_allclose(found.values, literal_area(x, expected), atol=1e-5)
        assert found.setting == f"points=6;fill=image-mean;reduce={reduce}"


@pytest.mark.parametrize(
    ("shape", "side", "unit"), [((50, 63), 2, "region"), ((12, 16), 1, "pixel")]
)
def test_aopc_equals_a_literal_computation(shape, side, unit, model):
    images = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(5))
    view = view_of(model, images, random_map((2, 3, *shape)))
    expected = literal_curve(
        view, images, filled(view, "noise"), shown(view), range(6), probability_of(view), side
    )
    drops = expected[:, :1] - expected
    short, long = aopc(view, counts=(2, 5), unit=unit)

    np.testing.assert_allclose(long.curve, drops, atol=1e-6)
    np.testing.assert_allclose(short.values, drops[:, :3].sum(1) / 3, atol=1e-6)
    np.testing.assert_allclose(long.values, drops.sum(1) / 6, atol=1e-6)
    assert list(long.x) == list(range(6))
    assert short.curve is None
    assert short.setting == f"regions=2;unit={unit};fill=noise;reduce=mean"


def test_squares_at_the_border_are_cut_off(model):
    images = torch.rand(1, 3, 50, 63)
    saliency = torch.zeros(1, 1, 50, 63)
    saliency[0, 0, 49, 62] = 0.5  # most salient on average: half of a cut square
    saliency[0, 0, 10, 10] = 0.9
    order = most_relevant_first(view_of(model, images, saliency), "mean", side=2)

    assert order.units == 25 * 32
    assert (order.ranks[0, 48:, 62:] == 0).all()
    assert (order.ranks[0, 10:12, 10:12] == 1).all()
    assert sorted(order.ranks.unique().tolist()) == list(range(25 * 32))


@pytest.mark.parametrize("side", [28, 32])
def test_default_regions_are_one_pixel_in_small_images(side):
    network = nn.Sequential(nn.Flatten(), nn.Linear(side * side, 3))
    model = Classifier(network, input_shape=(1, side, side)).requires_grad_(False)
    view = view_of(model, torch.rand(1, 1, side, side), torch.rand(1, 1, side, side))
    assert [one.setting.split(";")[0] for one in aopc(view)] == [
        "regions=20",
        "regions=50",
        "regions=100",
    ]
    assert all(one.values.isfinite().all() for one in aopc(view))


# Exactly what is replaced.


def test_exactly_k_pixels_go_with_all_their_channels():
    model = Classifier(Recording(), input_shape=(3, 5, 4))
    view = view_of(model, torch.ones(1, 3, 5, 4), torch.zeros(1, 1, 5, 4))
    view.saliency[0, 0, 2, 1] = 1  # all others are tied
    for function, first_goes in ((deletion, True), (preservation, False)):
        model.network.seen.clear()
        function(replace(view, known={}, shared_by_method={}), steps=7, fill="zero")
        pictures = torch.cat(model.network.seen)
        gone = (pictures == 0).all(1)
        assert ((pictures == 0).any(1) == gone).all()
        counts = gone.sum((1, 2)).tolist()
        assert sorted(counts) == sorted(round(20 * j / 7) for j in range(1, 8))
        assert all(
            bool(g[2, 1]) == (first_goes or c == 20) for g, c in zip(gone, counts, strict=True)
        )


def test_more_steps_than_pixels_are_as_many_as_pixels():
    model, images, saliency = additive(SHARES)
    view = view_of(model, images, saliency)
    many, exact = (deletion(view, steps=steps, fill="zero")[0] for steps in (32, 5))

    assert list(many.x) == list(exact.x)
    torch.testing.assert_close(many.values, exact.values)
    assert many.setting.startswith("steps=32;")


def test_one_step_is_the_mean_of_its_ends(view):
    covered = filled(view, "zero")
    ends = [
        view.model(images).double().softmax(1).gather(1, view.targets.unsqueeze(1)).squeeze(1)
        for images in (view.images, covered)
    ]
    torch.testing.assert_close(value(deletion, view, steps=1, fill="zero"), sum(ends) / 2)


# Ties.


def test_ties_are_in_an_order_of_the_image_and_not_of_memory(model, images):
    saliency = torch.zeros(4, 1, 12, 16)
    saliency[:, :, 3, 4:8] = 1
    view = view_of(model, images, saliency)
    ranks = most_relevant_first(view, "mean").ranks.flatten(1)

    assert (ranks.sort(1).values == torch.arange(192)).all()
    on = saliency.flatten(1) > 0
    assert (ranks[on] < 4).all()
    tied = ranks[0][~on[0]]
    assert not (tied.sort().values == tied).all()
    assert abs(np.corrcoef(tied, np.arange(188))[0, 1]) < 0.3
    assert not torch.equal(ranks[0], ranks[1])

    other = replace(view, saliency=saliency.flip(2), method="other", shared_by_method={})
    theirs = most_relevant_first(other, "mean").ranks.flatten(1)
    both = ~on & ~(other.saliency.flatten(1) > 0)
    for mine, yours, where in zip(ranks, theirs, both, strict=True):
        assert torch.equal(mine[where].argsort(), yours[where].argsort())
    alone = view_of(model, images[2:3], saliency[2:3], names="c")
    assert torch.equal(most_relevant_first(alone, "mean").ranks.flatten(1), ranks[2:3])
    again = replace(view, seed=1, known={}, shared_by_method={})
    assert not torch.equal(most_relevant_first(again, "mean").ranks.flatten(1), ranks)


def test_a_map_and_three_copies_of_it_rank_alike(model, images):
    one = torch.rand(4, 1, 12, 16, generator=torch.Generator().manual_seed(1))
    view = view_of(model, images, one)
    wide = replace(view, saliency=one.expand(-1, 3, -1, -1), shared_by_method={})
    assert torch.equal(
        most_relevant_first(view, "mean").ranks, most_relevant_first(wide, "mean").ranks
    )


# P0's identities.


def test_p0_starts_at_the_accuracy_and_ends_at_one_class(view):
    labels = torch.tensor([0, 1, 2, int(view.targets[3])])
    (found,) = discriminative(replace(view, labels=labels), points=5, fill="zero")
    predicted = view.model(torch.zeros(1, 3, 12, 16)).argmax(1)

    assert found.x[0] == 0
    assert found.x[-1] == 1
    assert torch.equal(found.curve[:, 0], (labels == view.targets).double())
    assert torch.equal(found.curve[:, -1], (labels == predicted).double())


def test_accuracy_falls_where_the_relevant_pixels_begin_to_go():
    class Needs(nn.Module):
        """Class 1 as long as the upper left square of 10 x 10 is whole."""

        def forward(self, images):
            whole = images[:, :, :10, :10].mean((1, 2, 3)) - 0.999
            return torch.stack([-whole, whole], dim=1)

    model = Classifier(Needs(), input_shape=(1, 20, 20))
    saliency = torch.rand(3, 1, 20, 20)
    saliency[:, :, :10, :10] += 1
    images = torch.ones(3, 1, 20, 20)
    (found,) = discriminative(view_of(model, images, saliency), fill="zero")
    expected = [float(x <= 0.75) for x in found.x]
    assert (found.curve == torch.tensor(expected).double()).all()

    (other,) = discriminative(view_of(model, images, -saliency.flip(2, 3)), fill="zero")
    assert (other.values < found.values).all()


def test_without_a_label_nothing_is_right_or_wrong(view):
    labels = torch.tensor([-1, 0, 1, 2])
    (found,) = discriminative(replace(view, labels=labels), points=4)
    assert found.values.isfinite().tolist() == [False, True, True, True]
    assert found.curve[0].isnan().all()


def test_the_judge_judges(view):
    class Always(nn.Module):
        def forward(self, images):
            return torch.eye(5)[2].expand(len(images), -1)

    judge = Classifier(Always(), input_shape=(3, 12, 16))
    judged = replace(view, beside={"judge": judge}, labels=torch.tensor([2, 2, 0, -1]))
    before = view.model.passes
    (found,) = discriminative(judged, points=4)

    assert found.values[:3].tolist() == [1, 1, 0]
    assert view.model.passes == before
    # Clean and covered images once for all methods, three points between for each labelled one.
    assert judge.passes == 2 * 4 + 3 * 3
    discriminative(replace(judged, method="other", shared_by_method={}), points=4)
    assert judge.passes == 2 * 4 + 2 * 3 * 3


def test_a_shift_of_all_logits_moves_the_density_alone(model, images):
    plain = view_of(model, images, random_map())
    shifted = view_of(model.replaced(Shifted(model.network).eval()), images, random_map(), known={})
    for function in (deletion, preservation, insertion, deletion_gap, discriminative, aopc):
        torch.testing.assert_close(
            value(function, shifted), value(function, plain), rtol=0, atol=1e-5
        )
    (a,), (b,) = (measure(density_perturbation, view, fill="zero") for view in (plain, shifted))
    moved = b.curve - a.curve
    normalised = (images - model.mean) / model.std
    covered = (-model.mean / model.std).mean() - normalised.mean((1, 2, 3))
    torch.testing.assert_close(moved[:, -1], 10 * covered.double(), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(a.values, b.values, atol=0.1)


# What it costs, and what it does not depend on.


def test_passes_of_deletion_and_preservation(view):
    model = view.model
    start = model.passes
    for function in (deletion, preservation, deletion_gap):
        function(view, steps=10)
    assert model.passes - start == 4 * (2 * 9 + 1)

    start = model.passes
    other = replace(view, saliency=random_map(seed=1), method="other", shared_by_method={})
    for function in (deletion_gap, deletion, preservation):
        function(other, steps=10)
    assert model.passes - start == 4 * 2 * 9

    start = model.passes
    insertion(other, steps=10)
    assert model.passes - start == 4 * 10
    start = model.passes
    density_perturbation(replace(other, known={}), points=4)
    assert model.passes - start == 4 * 4
    start = model.passes
    aopc(other, counts=(2, 5))
    assert model.passes - start == 4 * 5


def test_undefined_maps_cost_no_pass(view):
    saliency = view.saliency.clone()
    saliency[1] = torch.nan
    saliency[2] = 3
    start = view.model.passes
    (found,) = deletion(replace(view, saliency=saliency), steps=10)

    assert found.values.isnan().tolist() == [False, True, True, False]
    assert view.model.passes - start == 2 * 9 + 4
    torch.testing.assert_close(found.values[[0, 3]], value(deletion, view, steps=10)[[0, 3]])
    start = view.model.passes
    nothing = replace(view, saliency=torch.full_like(saliency, torch.nan), shared_by_method={})
    for function in ALL:
        assert value(function, nothing).isnan().all()
    assert view.model.passes == start


@pytest.mark.parametrize("function", ALL)
def test_batches_do_not_matter_and_are_never_too_large(function, view):
    whole = value(function, view)
    seen = []
    handle = view.model.network.register_forward_pre_hook(lambda _, x: seen.append(len(x[0])))
    for size in (1, 3, 5):
        small = replace(view, batch_size=size, known={}, shared_by_method={})
        torch.testing.assert_close(value(function, small), whole, rtol=0, atol=1e-5)
        assert max(seen) <= size
        seen.clear()
    handle.remove()
    for i in range(4):
        one = view_of(view.model, view.images[i : i + 1], view.saliency[i : i + 1], names="abcd"[i])
        torch.testing.assert_close(value(function, one), whole[i : i + 1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("function", CURVES)
def test_only_the_order_of_a_map_matters(function, view):
    stretched = replace(view, saliency=view.saliency * 8, shared_by_method={})
    assert torch.equal(value(function, stretched), value(function, view))


@pytest.mark.parametrize("function", ALL)
def test_one_channel_has_no_spread(function, view):
    narrow = replace(view, saliency=view.saliency[:, :1], shared_by_method={})
    found = value(function, narrow, reduce="std")
    assert found.isnan().all() if function in CURVES else found.isfinite().all()


# Pictures and bad options.


@pytest.mark.parametrize("function", [deletion, preservation, insertion, discriminative])
def test_pictures_of_the_first_image(function, view):
    assert not measure(function, view)[0].pictures
    (found,) = measure(function, replace(view, draw=True))
    word = "returned" if function is insertion else "removed"
    assert list(found.pictures) == [f"{word}={q:g}" for q in (0.1, 0.25, 0.5, 0.75, 0.9)]
    changed = [int((picture != view.images[0]).any(0).sum()) for picture in found.pictures.values()]
    expected = [round(192 * q) for q in (0.1, 0.25, 0.5, 0.75, 0.9)]
    assert changed == (expected if word == "removed" else [192 - k for k in expected])


def test_no_picture_of_a_map_that_says_nothing(view):
    blank = replace(view, draw=True, saliency=torch.ones_like(view.saliency))
    assert not measure(deletion, blank)[0].pictures


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (deletion, {"steps": 0}, "--steps is 0; give at least 1"),
        (preservation, {"steps": -1}, "--steps is -1; give at least 1"),
        (insertion, {"steps": 0}, "--steps is 0; give at least 1"),
        (deletion_gap, {"fill": "red"}, "--fill is 'red'; give image-mean"),
        (deletion, {"reduce": "max"}, "--reduce is 'max'; give mean or std"),
        (discriminative, {"points": 1}, "--points is 1; give at least 2"),
        (density_perturbation, {"points": 0}, "--points is 0; give at least 2"),
        (aopc, {"unit": "block"}, "--unit is 'block'; give region or pixel"),
        (aopc, {"counts": (20, 193)}, "--regions is 193; an image has 192 regions, so give 0 to"),
        (aopc, {"counts": (-1,)}, "--regions is -1"),
        (aopc, {"counts": ()}, "--regions is empty"),
        (retrieval_rate, {"fill": "2"}, "--fill is '2'"),
    ],
)
def test_bad_options_are_named(function, options, message, view):
    with pytest.raises(InputError, match=message):
        function(view, **options)


def test_retrieval_is_whether_the_revealed_image_keeps_its_class(view):
    (found,) = retrieval_rate(view, fill="image-mean")
    mean = view.images.mean((2, 3), keepdim=True)
    seen = view.model(revealed(view.images, view.saliency.abs().mean(1), mean)).argmax(1)
    assert torch.equal(found.values, (seen == view.logits.argmax(1)).double())
    assert found.setting == "fill=image-mean"
    (masked,) = retrieval_rate(view, fill="zero", opacity="none")
    seen = view.model(view.images * view.saliency.clamp(0, 1)).argmax(1)
    assert torch.equal(masked.values, (seen == view.logits.argmax(1)).double())
    assert masked.setting == "fill=zero;view=none"
    sharp = torch.zeros_like(view.saliency)
    sharp[:, :, 0, 0] = 1e-9
    hidden = retrieval_rate(replace(view, saliency=sharp), fill="zero")[0].values
    covered = torch.zeros_like(view.images)
    covered[:, :, 0, 0] = view.images[:, :, 0, 0]
    expected = view.model(covered).argmax(1) == view.targets
    assert torch.equal(hidden, expected.double())
