"""Metrics that read maps alone, or beside annotations and another model's map."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import scipy.stats
import torch

from saliency_audit.errors import InputError
from saliency_audit.metrics import View
from saliency_audit.metrics.class_evidence import class_evidence
from saliency_audit.metrics.gaze_overlap import gaze_overlap, overlap, top_odds
from saliency_audit.metrics.pointing_game import pointing_game
from saliency_audit.metrics.sparsity import gini, hoyer, sparsity_gini, sparsity_hoyer
from saliency_audit.metrics.stability import stability
from saliency_audit.models import Classifier
from saliency_audit.seeding import generators
from tests.conftest import Linear

READS_MAPS = [
    sparsity_gini,
    sparsity_hoyer,
    partial(gaze_overlap, top=(0.2,)),
    pointing_game,
    stability,
    partial(stability, pixels="nonzero"),
]


def random_map(n=5, c=2, h=6, w=9, seed=0):
    return torch.randn(n, c, h, w, generator=torch.Generator().manual_seed(seed))


def linear_model(classes=5, c=2, h=6, w=9, seed=3):
    weight = torch.randn(classes, c, h, w, generator=torch.Generator().manual_seed(seed))
    return Classifier(Linear(weight, torch.zeros(classes)), input_shape=(c, h, w), mean=0.3)


def view_of(saliency, *, explained=None, **more):
    """A view whose method gives ``explained`` when it is asked again."""
    n, c, *size = saliency.shape
    images = torch.rand(n, c, *size, generator=torch.Generator().manual_seed(7))
    model = linear_model(c=c, h=size[0], w=size[1])
    logits = model(images)
    targets = logits.argmax(1)
    given = {
        "model": model,
        "images": images,
        "names": [f"{i}.png" for i in range(n)],
        "labels": targets,
        "targets": targets,
        "logits": logits,
        "method": "map",
        "saliency": saliency,
        "explain": lambda *a, **b: saliency if explained is None else explained,
        "batch_size": 64,
        "seed": 0,
        "beside": {
            "other": model,
            "annotations": (random_map(n, 1, *size, seed=8)[:, 0] > 0.7).float(),
        },
    }
    return View(**(given | more))


def only(view, i):
    """The same view of one image."""
    one = slice(i, i + 1)
    parts = {
        name: getattr(view, name)[one]
        for name in (
            "images",
            "names",
            "labels",
            "targets",
            "logits",
            "saliency",
        )
    }
    beside = {**view.beside, "annotations": view.beside["annotations"][one]}
    again = view.explain()
    return replace(view, **parts, beside=beside, explain=lambda *a, **b: again[one], known={})


def magnitudes(saliency):
    return saliency.double().abs().mean(1).numpy()


# Sparsity


def test_gini_and_hoyer_equal_a_literal_computation():
    saliency = random_map()
    view = view_of(saliency)
    for i, shown in enumerate(magnitudes(saliency)):
        v, n = np.sort(shown.ravel()), shown.size
        total = 0.0
        for k in range(1, n + 1):
            total += v[k - 1] / v.sum() * (n - k + 0.5) / n
        assert float(sparsity_gini(view)[0].values[i]) == pytest.approx(1 - 2 * total, abs=1e-12)
        # Mean absolute difference of all pairs over twice the mean: the textbook definition.
        pairs = np.abs(v[:, None] - v[None]).mean() / (2 * v.mean())
        assert float(sparsity_gini(view)[0].values[i]) == pytest.approx(pairs, abs=1e-12)
        expected = (n**0.5 - np.abs(v).sum() / np.sqrt((v**2).sum())) / (n**0.5 - 1)
        assert float(sparsity_hoyer(view)[0].values[i]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [2, 12, 784])
def test_sparsity_of_one_pixel_of_equal_pixels_and_of_almost_equal_ones(n):
    one_hot = torch.zeros(1, 1, n)
    one_hot[..., n // 2] = 3
    assert float(gini(one_hot)) == pytest.approx(1 - 1 / n, abs=1e-12)
    assert float(hoyer(one_hot)) == pytest.approx(1, abs=1e-12)
    for measure in (gini, hoyer):
        assert measure(torch.ones(1, 1, n)).isnan().all()
        assert float(measure(1 + 1e-6 * one_hot.double())) == pytest.approx(0, abs=1e-5)
    assert hoyer(torch.ones(1, 1, 1)).isnan().all()


def test_half_of_the_pixels_equal_and_half_zero():
    shown = torch.tensor([[[0.0, 2.0, 0.0, 2.0]]])
    assert float(gini(shown)) == pytest.approx(0.5)
    assert float(hoyer(shown)) == pytest.approx((2 - 2**0.5) / (2 - 1))


# All that read maps


@pytest.mark.parametrize("measure", READS_MAPS)
def test_scale_sign_channels_and_batch_do_not_matter(measure):
    saliency = random_map(c=1).double()
    view = view_of(saliency.expand(-1, 3, -1, -1), explained=random_map(seed=1))
    expected = [one.values for one in measure(view)]

    def same(other):
        for found, value in zip(measure(other), expected, strict=True):
            torch.testing.assert_close(found.values, value, rtol=1e-9, atol=1e-12, equal_nan=True)

    for changed in (saliency, -saliency, 1e-6 * saliency, 1e6 * saliency):
        same(replace(view, saliency=changed, known={}))
    alone = [[one.values for one in measure(only(view, i))] for i in range(5)]
    for j, value in enumerate(expected):
        joined = torch.cat([values[j] for values in alone])
        torch.testing.assert_close(joined, value, rtol=1e-9, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("measure", READS_MAPS)
@pytest.mark.parametrize("bad", [0.0, -2.0, torch.nan, torch.inf])
def test_a_map_that_says_nothing_is_undefined(measure, bad):
    saliency = random_map()
    view = view_of(saliency, explained=random_map(seed=1))
    expected = [one.values for one in measure(view)]
    saliency[2] = bad
    for found, value in zip(measure(replace(view, known={})), expected, strict=True):
        if found.check != "pointing-game-chance":
            assert found.values[2].isnan()
            kept = [0, 1, 3, 4]
            torch.testing.assert_close(found.values[kept], value[kept], equal_nan=True)


@pytest.mark.parametrize("measure", READS_MAPS)
def test_one_tall_grey_image(measure):
    view = view_of(random_map(1, 1, 11, 3), explained=random_map(1, 1, 11, 3, seed=1))
    for one in measure(view):
        assert one.values.shape == (1,)
        assert one.values.dtype == torch.float64
        assert one.values.isfinite().all()


# Top pixels


def test_top_odds_are_the_mean_over_many_orders_of_the_ties():
    rng = np.random.default_rng(0)
    shown = rng.integers(0, 4, (3, 4, 5)).astype(float)
    for k in (1, 7, 19, 20):
        odds = top_odds(torch.tensor(shown), k)
        np.testing.assert_allclose(odds.sum((1, 2)), k, atol=1e-12)
        for i, flat in enumerate(shown.reshape(3, -1)):
            drawn = np.zeros(20)
            for _ in range(2000):
                lots = rng.permutation(20)
                drawn[lots[np.argsort(-flat[lots], kind="stable")[:k]]] += 1 / 2000
            np.testing.assert_allclose(odds[i].flatten(), drawn, atol=0.06)


def test_each_map_may_have_its_own_number_of_pixels():
    shown = random_map(3)[:, 0]
    together = top_odds(shown, torch.tensor([1, 20, 54]))
    for i, k in enumerate((1, 20, 54)):
        assert torch.equal(together[i], top_odds(shown[i : i + 1], k)[0])


def top_set(shown, k):
    return set(np.argsort(-shown.ravel(), kind="stable")[:k])


def test_gaze_overlap_equals_a_literal_computation():
    saliency = random_map()
    looked = random_map(seed=5)[:, 0].abs()
    view = view_of(saliency, beside={"annotations": looked})
    found = gaze_overlap(view, top=(0.05, 0.1, 0.5))
    assert [one.setting for one in found] == ["top=0.05", "top=0.1", "top=0.5"]
    for one, k in zip(found, (3, 5, 27), strict=True):
        for i, shown in enumerate(magnitudes(saliency)):
            common = top_set(shown, k) & top_set(looked[i].numpy(), k)
            assert float(one.values[i]) == pytest.approx(len(common) / k)


def test_gaze_overlap_with_itself_is_one_and_with_marks_that_hold_it():
    saliency = random_map()
    shown = saliency.abs().mean(1)
    view = view_of(saliency, beside={"annotations": shown})
    for one in gaze_overlap(view):
        torch.testing.assert_close(one.values, torch.ones(5).double())
    # A box: ten pixels are marked alike, so five of them are taken by lot.
    marked = torch.zeros(5, 54)
    marked.scatter_(1, shown.flatten(1).argsort(1, descending=True)[:, :10], 1)
    (boxes,) = gaze_overlap(
        replace(view, beside={"annotations": marked.view_as(shown)}), top=(0.1,)
    )
    torch.testing.assert_close(boxes.values, torch.full((5,), 0.5).double())


def test_what_has_nothing_to_do_with_each_other_overlaps_by_chance_whatever_is_tied():
    torch.manual_seed(0)
    for sparse_a, sparse_b in ((0.0, 0.0), (0.9, 0.0), (0.9, 0.95)):
        a = torch.rand(4000, 8, 8) * (torch.rand(4000, 8, 8) > sparse_a)
        b = torch.rand(4000, 8, 8) * (torch.rand(4000, 8, 8) > sparse_b)
        share = overlap(a, b, 16) / 16
        assert float(share.nanmean()) == pytest.approx(16 / 64, abs=0.006)


def test_an_image_without_annotation_is_undefined():
    saliency = random_map()
    view = view_of(saliency)
    annotations = view.beside["annotations"].clone()
    annotations[1], annotations[3] = torch.nan, 0.0
    view = replace(view, beside={"annotations": annotations})
    for one in (*gaze_overlap(view), *pointing_game(view)):
        assert one.values.isnan().tolist() == [False, True, False, True, False]


@pytest.mark.parametrize("measure", [gaze_overlap, pointing_game])
def test_annotations_are_needed(measure):
    with pytest.raises(InputError, match="--annotations"):
        measure(view_of(random_map(), beside={"annotations": None}))


@pytest.mark.parametrize("top", [0.0, 1.0, -0.1, 5.0])
def test_a_share_of_the_top_is_a_share(top):
    with pytest.raises(InputError, match="--top is"):
        gaze_overlap(view_of(random_map()), top=(0.1, top))


# Pointing game


def test_pointing_game_equals_a_literal_computation():
    saliency = random_map(60)
    view = view_of(saliency)
    hits, chance = pointing_game(view)
    marked = view.beside["annotations"].numpy()
    for i, shown in enumerate(magnitudes(saliency)):
        row, column = np.unravel_index(shown.argmax(), shown.shape)
        assert float(hits.values[i]) == float(marked[i, row, column] > 0)
        assert float(chance.values[i]) == pytest.approx((marked[i] > 0).mean())
    assert chance.check == "pointing-game-chance"
    assert chance.saliency == ""


def test_of_several_largest_pixels_one_is_drawn():
    saliency = torch.zeros(2000, 1, 3, 4)
    saliency[:, 0, 0] = 5.0
    annotations = torch.zeros(2000, 3, 4)
    annotations[:, 0, 3] = 0.2
    view = view_of(saliency, beside={"annotations": annotations})
    hits, _ = pointing_game(view)
    assert set(hits.values.tolist()) == {0.0, 1.0}
    assert float(hits.values.mean()) == pytest.approx(0.25, abs=0.04)
    assert torch.equal(hits.values, pointing_game(view)[0].values)
    other = pointing_game(replace(view, seed=1))[0].values
    assert not torch.equal(hits.values, other)


def test_a_random_map_gets_the_chance_that_is_told():
    saliency = torch.rand(4000, 1, 6, 9, generator=torch.Generator().manual_seed(0))
    hits, chance = pointing_game(view_of(saliency))
    assert float(hits.values.mean()) == pytest.approx(float(chance.values.mean()), abs=0.02)


def test_the_chance_of_the_pointing_game_is_told_once_for_all_methods():
    view = view_of(random_map())
    assert len(pointing_game(view)) == 2
    assert len(pointing_game(replace(view, method="random"))) == 1
    assert len(pointing_game(view)) == 2  # the same method once more, with less memory


# Stability


def test_stability_equals_a_literal_computation():
    first, second = random_map(), random_map(seed=1) + random_map()
    view = view_of(first, explained=second)
    k = round(0.4 * 54)
    top, jaccard, rank = stability(view)
    assert (top.setting, jaccard.check) == ("k=0.4;pixels=all", "stability-jaccard")
    for i, (a, b) in enumerate(zip(magnitudes(first), magnitudes(second), strict=True)):
        sets = top_set(a, k), top_set(b, k)
        assert float(top.values[i]) == pytest.approx(len(sets[0] & sets[1]) / k)
        assert float(jaccard.values[i]) == pytest.approx(
            len(sets[0] & sets[1]) / len(sets[0] | sets[1])
        )
        assert float(rank.values[i]) == pytest.approx(
            scipy.stats.spearmanr(a.ravel(), b.ravel()).statistic
        )


def test_the_nonzero_pixels_of_the_first_map_can_set_the_number():
    first, second = random_map(), random_map(seed=1)
    first[:, :, 2:] = 0
    first[0, :, 0] = 0
    view = view_of(first, explained=second)
    top, jaccard, _ = stability(view, pixels="nonzero")
    assert top.setting == "share=0.4;pixels=nonzero"
    for i, (a, b) in enumerate(zip(magnitudes(first), magnitudes(second), strict=True)):
        k = round(0.4 * np.count_nonzero(a))
        assert k == (7 if i else 4)
        common = len(top_set(a, k) & top_set(b, k))
        assert float(top.values[i]) == pytest.approx(common / k)
        assert float(jaccard.values[i]) == pytest.approx(common / (2 * k - common))


@pytest.mark.parametrize("pixels", ["all", "nonzero"])
def test_the_same_model_twice_is_stable(pixels):
    for one in stability(view_of(random_map()), pixels=pixels):
        torch.testing.assert_close(one.values, torch.ones(5).double())


def test_zeros_that_two_maps_share_are_no_agreement():
    first, second = random_map(4000, 1, 8, 8), random_map(4000, 1, 8, 8, seed=1)
    first *= torch.rand(4000, 1, 8, 8, generator=torch.Generator().manual_seed(2)) > 0.9
    second *= torch.rand(4000, 1, 8, 8, generator=torch.Generator().manual_seed(3)) > 0.9
    top, _, _ = stability(view_of(first, explained=second))
    assert float(top.values.nanmean()) == pytest.approx(26 / 64, abs=0.005)


def test_the_other_model_explains_the_same_images_and_a_control_is_drawn_anew():
    calls = []

    def explain(model, images, targets, *, names, seed):
        calls.append((model, images, targets, names, seed))
        draws = generators(seed, names, "random")
        return torch.stack([torch.rand(1, 6, 9, generator=draw) for draw in draws])

    names = [f"{i}.png" for i in range(600)]
    saliency = explain(None, None, None, names=names, seed=5)
    calls.clear()
    view = replace(view_of(saliency), explain=explain, seed=5)
    method = stability(view)
    control = stability(replace(view, control=True))
    torch.testing.assert_close(method[0].values, torch.ones(600).double())
    assert float(control[0].values.mean()) == pytest.approx(22 / 54, abs=0.01)
    assert float(control[2].values.mean()) == pytest.approx(0, abs=0.02)
    for model, images, targets, asked, _ in calls:
        assert model is view.beside["other"]
        assert images is view.images
        assert targets is view.targets
        assert list(asked) == names
    assert [seed for *_, seed in calls] == [5, 6]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": 0.0}, "--k is 0"),
        ({"k": 1.0}, "--k is 1"),
        ({"k": 1000.0}, "--k is 1000"),
        ({"pixels": "some"}, "--pixels is 'some'"),
    ],
)
def test_options_of_stability_that_mean_nothing(options, words):
    with pytest.raises(InputError, match=words):
        stability(view_of(random_map()), **options)


def test_stability_needs_a_second_model():
    with pytest.raises(InputError, match="--other"):
        stability(view_of(random_map(), beside={"other": None}))


# Class evidence


def class_maps(weight):
    """Maps that show the pixels of each class's own patch."""

    def explain(model, images, targets, *, names):
        return weight[targets]

    return explain


@pytest.fixture
def patches():
    """A model of four classes, each of which adds up its own quarter of the image."""
    weight = torch.zeros(4, 1, 4, 4)
    for j in range(4):
        weight[j, 0, j] = 1
    model = Classifier(Linear(weight, torch.zeros(4)), input_shape=(1, 4, 4))
    images = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0)) / 2 + 0.25
    logits = model(images)
    targets = logits.argmax(1)
    return View(
        model=model,
        images=images,
        names=list("abcde"),
        labels=targets,
        targets=targets,
        logits=logits,
        method="map",
        saliency=weight[targets],
        explain=class_maps(weight),
        batch_size=2,
        seed=0,
    )


def test_maps_that_show_a_class_its_own_pixels_are_evidence(patches):
    found = class_evidence(patches)
    assert [one.setting for one in found] == ["class=rank 2", "class=rank 3", "class=rank 4"]
    for one in found:
        assert torch.equal(one.values, torch.ones(5).double())
    found = class_evidence(patches, classes=(3, 0))
    assert [one.setting for one in found] == ["class=3", "class=0"]
    for one in found:
        assert torch.equal(one.values, torch.ones(5).double())


def test_maps_of_another_class_are_not(patches):
    def wrong(model, images, targets, *, names):
        return patches.explain(model, images, (targets + 1) % 4, names=names)

    for one in class_evidence(replace(patches, explain=wrong)):
        assert torch.equal(one.values, torch.zeros(5).double())


def test_class_evidence_equals_a_literal_computation():
    maps = random_map(20, seed=9).unsqueeze(1).repeat(1, 5, 1, 1, 1)
    maps += 0.3 * torch.randn(maps.shape, generator=torch.Generator().manual_seed(1))
    view = view_of(random_map(20))

    def explain(model, images, targets, *, names):
        return maps[torch.arange(20), targets]

    found = class_evidence(replace(view, explain=explain, batch_size=7))
    order = np.argsort(-view.logits.numpy(), axis=1)
    mixed = set()
    for rank, one in enumerate(found, start=1):
        for i in range(20):
            wanted = order[i, rank]
            shown = maps[i, wanted].abs().mean(0).double().numpy()
            shown = shown - shown.min()
            opacity = np.minimum(shown / np.quantile(shown, 0.99), 1)
            image = view.images[i].double().numpy()
            picture = 0.3 + opacity * (image - 0.3)
            logits = np.einsum("chw,kchw->k", picture - 0.3, view.model.network.weight.numpy())
            assert float(one.values[i]) == float(logits.argmax() == wanted)
            mixed.add(float(one.values[i]))
    assert mixed == {0.0, 1.0}


def test_a_class_whose_map_says_nothing_is_undefined(patches):
    def explain(model, images, targets, *, names):
        maps = patches.explain(model, images, targets, names=names).clone()
        maps[1], maps[2], maps[3] = torch.nan, 0.0, -1.0
        return maps

    for one in class_evidence(replace(patches, explain=explain)):
        assert one.values.isnan().tolist() == [False, True, True, True, False]

    def nothing(model, images, targets, *, names):
        return torch.zeros_like(images)

    for one in class_evidence(replace(patches, explain=nothing)):
        assert one.values.isnan().all()


@pytest.mark.parametrize("index", [4, -1])
def test_a_class_that_the_model_does_not_have(patches, index):
    with pytest.raises(InputError, match=rf"--explain-class is {index}; .*4 classes.*0 to 3"):
        class_evidence(patches, classes=(0, index))


def test_two_classes_have_one_runner_up(quadratic):
    images = torch.rand(2, 1, 3, 3).double()
    logits = quadratic(images)
    view = replace(
        view_of(random_map(2, 1, 3, 3)),
        model=quadratic,
        images=images,
        logits=logits,
        targets=logits.argmax(1),
    )
    assert [one.setting for one in class_evidence(view)] == ["class=rank 2"]
