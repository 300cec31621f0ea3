"""The checks of `attack` against their definition or an independent library."""

from functools import partial

import numpy as np
import pytest
import scipy.ndimage
import scipy.special
import scipy.stats
import torch

from saliency_audit.errors import InputError
from saliency_audit.maps import mass_center
from saliency_audit.metrics import CHECKS
from saliency_audit.metrics.changes import confidence_change, l2_distance, linf_distance
from saliency_audit.metrics.retrieval import retrieval, revealed
from saliency_audit.metrics.similarity import (
    mass_center_shift,
    mass_in_target,
    mse,
    pearson,
    pixel_count,
    spearman,
    topk_intersection,
)
from saliency_audit.metrics.ssim import ssim

topk = partial(topk_intersection, k=12)
SIMILARITIES = {
    "topk-intersection": topk,
    "spearman-abs": spearman,
    "pearson": pearson,
    "ssim": ssim,
}
DIFFERENCES = {"mse": mse, "mass-center-shift": mass_center_shift}
OF_TWO_MAPS = SIMILARITIES | DIFFERENCES
OF_IMAGES = {"l2-distance": l2_distance, "linf-distance": linf_distance}
BROKEN = [0.0, 0.1, 3.0, float("nan"), float("inf")]


def maps(seed, shape=(5, 9, 8), dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def images(seed, shape=(4, 3, 6, 5)):
    return maps(seed, shape)


def logits(seed):
    return 3 * torch.randn(5, 4, generator=torch.Generator().manual_seed(seed))


def per_map(function, *batches):
    arrays = (batch.double().numpy() for batch in batches)
    return np.array([function(*rows) for rows in zip(*arrays, strict=True)])


@pytest.mark.parametrize("name", OF_TWO_MAPS)
def test_equal_maps_are_best_and_the_registry_knows_which_end_that_is(name):
    metric, check = OF_TWO_MAPS[name], CHECKS[name]
    a, b = maps(0), maps(1)
    best = 1 if name in SIMILARITIES else 0
    assert metric(a, a) == pytest.approx(best, abs=1e-12)
    assert check.higher_is_better is (name in SIMILARITIES)
    assert best in check.bounds
    worse = metric(a, b)
    assert ((worse < best) if check.higher_is_better else (worse > best)).all()
    assert ((worse >= check.bounds[0]) & (worse <= check.bounds[1])).all()


def test_equal_maps_are_never_above_the_bound():
    many = maps(0, (200, 9, 9))
    for metric in SIMILARITIES.values():
        assert metric(many, many).max() <= 1
    assert (ssim(many, many) == 1).all()


@pytest.mark.parametrize("name", OF_TWO_MAPS)
def test_scale_does_not_matter(name):
    metric, a, b = OF_TWO_MAPS[name], maps(0, dtype=torch.float64), maps(1, dtype=torch.float64)
    for small, large in ((3e-7, 1), (1, 5e6)):
        torch.testing.assert_close(metric(small * a, large * b), metric(a, b), rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", OF_TWO_MAPS)
def test_order_of_the_two_maps_does_not_matter(name):
    metric, a, b = OF_TWO_MAPS[name], maps(0), maps(1)
    torch.testing.assert_close(metric(a, b), metric(b, a), rtol=1e-12, atol=1e-15)


def test_reversal():
    a, b = maps(0), maps(1)
    assert pearson(a, -a) == pytest.approx(-1, abs=1e-12)
    assert pearson(a, 2 - 3 * b.double()) == pytest.approx(-pearson(a, b), abs=1e-12)
    assert (ssim(a, -a) < -0.5).all()
    assert topk(a, -a).tolist() == [0] * 5
    assert topk_intersection(a, -a, k=60) == pytest.approx((60 + 60 - 72) / 60)


def test_monotone_transforms_keep_order_but_not_linear_relation():
    a, b = maps(0, dtype=torch.float64), maps(1, dtype=torch.float64)
    for metric in (topk, spearman):
        torch.testing.assert_close(metric((5 * a).exp(), b**3), metric(a, b), rtol=0, atol=1e-12)
    assert (pearson((5 * a).exp(), a) < 0.99).all()


@pytest.mark.parametrize("offset", [0, 1000])
def test_pearson_equals_scipy(offset):
    a, b = maps(0) + offset, maps(1)
    expected = per_map(lambda x, y: scipy.stats.pearsonr(x.ravel(), y.ravel()).statistic, a, b)
    np.testing.assert_allclose(pearson(a, b), expected, rtol=0, atol=1e-10)


def literal_ssim(a, b, radius):
    a, b = ((values - values.min()) / (values.max() - values.min()) for values in (a, b))
    inside = tuple(slice(radius, size - radius) for size in a.shape)

    def smooth(values):
        return scipy.ndimage.gaussian_filter(values, 1.5, radius=radius)[inside]

    mean_a, mean_b = smooth(a), smooth(b)
    variance_a, variance_b = smooth(a**2) - mean_a**2, smooth(b**2) - mean_b**2
    covariance = smooth(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 1) ** 2, (0.03 * 1) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return (luminance * (2 * covariance + c2) / (variance_a + variance_b + c2)).mean()


@pytest.mark.parametrize(
    ("shape", "radius"),
    [((9, 8), 3), ((20, 31), 3), ((7, 7), 3), ((6, 9), 2), ((9, 4), 1), ((2, 9), 0), ((1, 9), 0)],
)
def test_ssim_equals_its_definition(shape, radius):
    a, b = maps(0, (5, *shape)), maps(1, (5, *shape))
    b = 7 * (a + 0.3 * b)
    expected = per_map(partial(literal_ssim, radius=radius), a, b)
    np.testing.assert_allclose(ssim(a, b), expected, rtol=0, atol=1e-12)


def test_mse_equals_its_definition():
    a, b = maps(0), maps(1)
    expected = per_map(lambda x, y: ((x / x.sum() - y / y.sum()) ** 2).mean(), a, b)
    np.testing.assert_allclose(mse(a, b), expected, rtol=1e-12)
    here, there = torch.zeros(1, 4, 5), torch.zeros(1, 4, 5)
    here[0, 0, 0] = there[0, 3, 4] = 9
    assert mse(here, there) == pytest.approx(2 / 20)


def test_mass_center_equals_scipy():
    a, b = maps(0), maps(1)
    centres = per_map(scipy.ndimage.center_of_mass, a)
    np.testing.assert_allclose(mass_center(a.double()), centres, rtol=1e-12)
    expected = np.linalg.norm(centres - per_map(scipy.ndimage.center_of_mass, b), axis=1)
    np.testing.assert_allclose(mass_center_shift(a, b), expected, rtol=1e-10)


def test_mass_center_shift_is_in_pixels():
    blob = torch.zeros(1, 20, 30)
    blob[0, 8:11, 10:14] = maps(0, (3, 4))
    assert mass_center_shift(blob.roll((3, -4), (1, 2)), blob) == pytest.approx(5, abs=1e-12)


def test_mass_in_target_equals_its_definition():
    a, region = maps(0), maps(1)
    expected = per_map(lambda x, y: (x / x.sum() * y).sum(), a, region)
    np.testing.assert_allclose(mass_in_target(a, region), expected, rtol=1e-12)
    left = torch.zeros(5, 9, 8)
    left[:, :, :3] = 1
    assert mass_in_target(a, left) + mass_in_target(a, 1 - left) == pytest.approx(1, abs=1e-12)
    assert mass_in_target(a * left, left) == pytest.approx(1, abs=1e-12)
    assert mass_in_target(a * left, 1 - left).tolist() == [0] * 5


@pytest.mark.parametrize("levels", [2, 5, 1000])
@pytest.mark.parametrize("k", [1, 12, 71, 72])
def test_topk_intersection_equals_its_definition_with_ties(levels, k):
    a, b = ((maps(seed) * levels).floor() for seed in (0, 1))
    order = torch.randperm(72, generator=torch.Generator().manual_seed(3)).tolist()

    def top(values):
        flat = values.ravel()
        return set(sorted(range(72), key=lambda pixel: (-flat[pixel], order.index(pixel)))[:k])

    expected = per_map(lambda x, y: len(top(x) & top(y)) / k, a, b)
    np.testing.assert_allclose(topk_intersection(a, b, k=k, seed=3), expected, rtol=1e-15)


def test_equal_tied_maps_share_everything_and_the_seed_breaks_ties():
    a, b = ((maps(seed, (50, 9, 8)) > 0.5).float() for seed in (0, 1))
    for seed in range(5):
        assert (topk_intersection(a, a, k=12, seed=seed) == 1).all()
    first, again, other = (topk_intersection(a, b, k=12, seed=seed) for seed in (0, 0, 1))
    assert first.equal(again)
    assert not first.equal(other)


@pytest.mark.parametrize("ties", [False, True])
def test_unrelated_maps_share_k_over_n(ties):
    a, b = maps(0, (400, 30, 30)), maps(1, (400, 30, 30))
    if ties:
        a, b = (
            (m >= m.flatten(1).sort(descending=True).values[:, 89, None, None]).float()
            for m in (a, b)
        )
    share = 90 / 900
    spread = (share * (1 - share) * (1 - 90 / 900) / 90 / 400) ** 0.5
    assert float(topk_intersection(a, b, k=90).mean()) == pytest.approx(share, abs=4 * spread)


@pytest.mark.parametrize("k", [-1, 0, 73])
def test_topk_intersection_refuses_pixels_that_maps_do_not_have(k):
    with pytest.raises(InputError, match=rf"k is {k}; .*72"):
        topk_intersection(maps(0), maps(1), k=k)


@pytest.mark.parametrize(
    ("k", "count"),
    [
        (0.1, 10), (0.104, 10), (0.106, 11), (0.001, 1), (0.999, 100),
        (1, 1), (1.0, 1), (7, 7), (100, 100),
    ],
)  # fmt: skip
def test_pixel_count_takes_shares_and_counts(k, count):
    assert pixel_count(k, 100) == count
    assert isinstance(pixel_count(k, 100), int)


@pytest.mark.parametrize(
    ("k", "seen"),
    [
        (0, "0"), (-0.1, "-0.1"), (-5, "-5"), (1.5, "1.5"), (101, "101"), (1234567, "1,234,567"),
        (float("nan"), "nan"), (float("inf"), "inf"),
    ],
)  # fmt: skip
def test_pixel_count_refuses_the_rest_in_one_line(k, seen):
    with pytest.raises(InputError) as error:
        pixel_count(k, 100)
    message = str(error.value)
    assert f"--k is {seen};" in message
    assert "1 to 100" in message
    assert "\n" not in message


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("name", OF_TWO_MAPS)
def test_maps_that_say_nothing_are_undefined(name, broken):
    metric, a, b = OF_TWO_MAPS[name], maps(0), maps(1, dtype=torch.float64)
    b[2], b[4, 3, 3] = broken, torch.inf
    expected = [False, False, True, False, True]
    assert metric(a, b).isnan().tolist() == expected
    assert metric(b, a).isnan().tolist() == expected
    assert mass_in_target(b, a).isnan().tolist() == expected


def test_a_region_may_be_constant_but_must_be_finite():
    a, region = maps(0), torch.zeros(5, 9, 8)
    region[1], region[2, 0, 0], region[3, 0, 0] = 1, torch.nan, torch.inf
    share = mass_in_target(a, region)
    assert share[:2] == pytest.approx([0, 1], abs=1e-12)
    assert share.isnan().tolist() == [False, False, True, True, False]


def test_confidence_change_equals_its_definition():
    now, before = logits(0), logits(1)
    own = before.argmax(1).numpy()
    assert (now.argmax(1).numpy() != own).any()
    change = per_map(scipy.special.softmax, now) - per_map(scipy.special.softmax, before)
    np.testing.assert_allclose(
        confidence_change(now, before), change[np.arange(5), own], rtol=0, atol=1e-14
    )
    assert confidence_change(now.double() + 1e4, before) == pytest.approx(
        confidence_change(now, before), abs=1e-10
    )


def test_confidence_change_reaches_its_bounds_and_is_undefined_where_logits_are():
    sure, unsure = torch.tensor([[900.0, 0, 0]]), torch.tensor([[0.0, 900.0, 0]])
    assert confidence_change(unsure, sure).tolist() == [-1]
    assert confidence_change(sure, sure).tolist() == [0]
    for value in (torch.nan, torch.inf, -torch.inf):
        broken = logits(0)
        broken[1, 2] = value
        expected = [False, True, False, False, False]
        assert confidence_change(broken, logits(1)).isnan().tolist() == expected
        assert confidence_change(logits(1), broken).isnan().tolist() == expected
        assert retrieval(broken, logits(1)).isnan().tolist() == expected


@pytest.mark.parametrize(("metric", "order"), [(l2_distance, 2), (linf_distance, np.inf)])
def test_distances_equal_numpy(metric, order):
    a, b = images(0) / 0.3, images(1) / 0.3
    expected = per_map(lambda x, y: np.linalg.norm((x - y).ravel(), order), a, b)
    np.testing.assert_allclose(metric(a, b), expected, rtol=1e-13)
    np.testing.assert_allclose(metric(255 * a.double(), 255 * b.double()), 255 * expected)
    assert metric(a, a).tolist() == [0] * 4


@pytest.mark.parametrize("metric", [l2_distance, linf_distance])
def test_distances_take_constant_images_but_only_finite_ones(metric):
    white, black = torch.ones(4, 3, 6, 5), torch.zeros(4, 3, 6, 5)
    assert metric(white, black) == pytest.approx(90**0.5 if metric is l2_distance else 1)
    white[1, 0, 0, 0] = torch.nan
    white[2], black[2] = torch.inf, torch.inf
    black[3, 2, 5, 4] = -torch.inf
    assert metric(white, black).isnan().tolist() == [False, True, True, True]


def test_retrieval_compares_predicted_classes():
    clean = torch.tensor([[1.0, 3.0, 2.0], [4.0, 0.0, 1.0]])
    assert retrieval(torch.tensor([[0.0, 9.0, 1.0], [0.0, 0.0, 1.0]]), clean).tolist() == [1, 0]


def test_revealed_equals_its_definition():
    original, saliency = images(0), maps(1, (4, 6, 5))
    fill = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)

    def literal(image, values):
        low, top = values.min(), np.percentile(values, 99)
        opacity = np.clip((values - low) / (top - low), 0, 1)
        return opacity * image + (1 - opacity) * np.array([0.4, 0.5, 0.6])[:, None, None]

    shown = revealed(original, saliency, fill)
    assert shown.dtype == original.dtype
    np.testing.assert_allclose(shown, per_map(literal, original, saliency), atol=1e-6)
    for i, values in enumerate(saliency):
        row, column = divmod(int(values.argmin()), 5)
        torch.testing.assert_close(shown[i, :, row, column], fill.flatten())


def test_what_an_image_is_shown_through_is_scaled_as_asked():
    original, fill = images(0), torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)
    masks = maps(1, (4, 3, 6, 5)).abs()
    masks = 0.9 * masks / masks.amax()
    shown = revealed(original, masks, fill, opacity="none")
    torch.testing.assert_close(shown, masks * original + (1 - masks) * fill, atol=1e-6, rtol=0)

    grey = masks.mean(1)
    low, top = (f(grey.flatten(1), 1).view(4, 1, 1) for f in (torch.amin, torch.amax))
    scaled = ((grey - low) / (top - low)).unsqueeze(1)
    shown = revealed(original, grey, fill, opacity="minmax")
    torch.testing.assert_close(shown, scaled * original + (1 - scaled) * fill, atol=1e-6, rtol=0)


def test_revealed_shows_everything_where_the_map_is_at_its_top():
    original, fill = images(0), torch.full((1, 3, 1, 1), 0.5)
    saliency = torch.ones(4, 6, 5)
    saliency[:, 0, 0] = 0
    shown = revealed(original, saliency, fill)
    torch.testing.assert_close(shown[:, :, 1:], original[:, :, 1:], rtol=0, atol=1e-6)
    assert (shown[:, :, 0, 0] == 0.5).all()


def test_revealed_shows_the_only_pixel_that_a_map_has():
    original, fill = images(0, (1, 3, 20, 20)), torch.zeros(1, 3, 1, 1)
    saliency = torch.zeros(1, 20, 20)
    saliency[0, 3, 4] = 1e-5
    expected = torch.zeros_like(original)
    expected[:, :, 3, 4] = original[:, :, 3, 4]
    torch.testing.assert_close(revealed(original, saliency, fill), expected)


@pytest.mark.parametrize("broken", BROKEN)
def test_nothing_is_revealed_by_a_map_that_says_nothing(broken):
    original, saliency = images(0), maps(1, (4, 6, 5))
    saliency[2], saliency[3, 3, 3] = broken, torch.inf
    shown = revealed(original, saliency, torch.zeros(1, 3, 1, 1))
    assert shown[2:].isnan().all()
    assert shown[:2].isfinite().all()


@pytest.mark.parametrize(
    ("metric", "now", "before"),
    [
        *((metric, maps(0), maps(1)) for metric in OF_TWO_MAPS.values()),
        (mass_in_target, maps(0), maps(1)),
        (mass_center, maps(0), None),
        *((metric, images(0), images(1)) for metric in OF_IMAGES.values()),
        (confidence_change, logits(0), logits(1)),
        (retrieval, logits(0), logits(1)),
        (partial(revealed, fill=torch.full((1, 3, 1, 1), 0.5)), images(0), maps(1, (4, 6, 5))),
    ],
)
def test_a_batch_equals_its_images_one_by_one(metric, now, before):
    batches = [batch for batch in (now, before) if batch is not None]
    together = metric(*batches)
    alone = [metric(*(batch[i : i + 1] for batch in batches)) for i in range(len(now))]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-12)
    if together.ndim == 1:
        assert together.shape == (len(now),)
        assert together.dtype == torch.float64


def test_every_retrieval_is_registered_under_its_image_and_map():
    for image in ("clean", "attacked"):
        for saliency in ("clean", "attacked"):
            check = CHECKS[f"retrieval-{image}-{saliency}"]
            assert check.function is retrieval
            assert f"{image} image is shown through the {saliency} image's map" in check.summary
