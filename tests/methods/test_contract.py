"""What every saliency method promises, whatever it computes."""

import re
from pathlib import Path

import pytest
import torch

import saliency_audit.methods
from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.methods import METHODS
from saliency_audit.models import SCALARS, Classifier, untrained

every_method = pytest.mark.parametrize("name", METHODS)
EAGER = {"fullgrad"}
NO_TORCHSCRIPT = {"deeplift", "lrp", "gradcam", "guided-backprop", "guided-gradcam", "rt-sal"}


COMPILED = {}


def compiled(network, images, format):
    if format == "torchscript":
        return torch.jit.trace(network, images)
    batch = torch.export.Dim("n")
    return torch.export.unflatten(
        torch.export.export(network, (images,), dynamic_shapes=({0: batch},))
    )


DESCENT = {"samples": 3, "proximal_steps": 3}
FEW = {
    "sparsified-smoothgrad": {"samples": 6},
    "relex": {"copies": 3, "iterations": 3},
    "moreau": DESCENT,
    "sparse-moreau": DESCENT | {"eta": 1e-5},
    "group-moreau": DESCENT | {"eta": 1e-5},
}
"""Of hundreds of passes, a few; and penalties that leave something of the toys' small gradients."""


def explain(name, model, images, targets, generators, **options):
    if METHODS[name].needs and model.masker is None:
        with model.audited():
            model.masker = untrained(model, images, width=4, seed=0)
    options = {**FEW.get(name, {}), **options}
    return METHODS[name].function(model, images, targets, generators=generators, **options)


@every_method
@pytest.mark.parametrize("scalar", SCALARS)
def test_one_finite_map_per_image(name, scalar, cnn, images, targets, draws):
    saliency = explain(name, cnn, images, targets, draws(), scalar=scalar)

    assert saliency.shape in (images.shape, images[:, :1].shape)
    assert saliency.dtype == images.dtype
    assert saliency.isfinite().all()
    assert not saliency.requires_grad
    assert METHODS[name].signed or (saliency >= 0).all()
    assert (saliency.flatten(1).amax(1) > saliency.flatten(1).amin(1)).any()


@every_method
@pytest.mark.parametrize("scalar", ["logit", "log-prob"])
@pytest.mark.parametrize("batch_size", [None, 3])
def test_a_map_does_not_depend_on_the_batch(name, scalar, batch_size, cnn, images, targets, draws):
    together = explain(name, cnn, images, targets, draws(), scalar=scalar, batch_size=batch_size)
    alone = [
        explain(name, cnn, images[i : i + 1], targets[i : i + 1], draws("abcd"[i]), scalar=scalar)
        for i in range(4)
    ]

    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=2e-6)


@every_method
@pytest.mark.parametrize("batch_size", [2, 13])
def test_the_network_never_sees_more_than_the_batch_size(
    name, batch_size, cnn, images, targets, draws
):
    seen = []
    cnn.network.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))

    explain(name, cnn, images, targets, draws(), batch_size=batch_size)

    assert METHODS[name].control or 0 < max(seen) <= batch_size
    assert METHODS[name].control or cnn.passes > 0


@every_method
@pytest.mark.parametrize("fails", [False, True], ids=["works", "fails"])
def test_nothing_is_left_behind(name, fails, cnn, images, targets, draws):
    before = {key: value.clone() for key, value in cnn.state_dict().items()}
    attributes = {module: set(vars(module)) for module in cnn.modules()}
    kept = images.clone()
    if fails:
        targets = targets + 100

    if fails and not METHODS[name].control:
        with pytest.raises((IndexError, RuntimeError)):
            explain(name, cnn, images, targets, draws())
    else:
        explain(name, cnn, images, targets, draws())

    assert torch.equal(images, kept)
    assert images.grad is None
    assert not images.requires_grad
    for module in cnn.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
        assert set(vars(module)) == attributes[module]
    assert all(module.inplace for module in cnn.modules() if hasattr(module, "inplace"))
    for key, value in cnn.state_dict().items():
        assert torch.equal(value, before[key])
    assert all(p.grad is None and p.requires_grad for p in cnn.parameters())


@every_method
def test_the_same_generators_give_the_same_map(name, cnn, images, targets, draws):
    torch.manual_seed(5)
    first = explain(name, cnn, images, targets, draws())
    torch.manual_seed(6)
    second = explain(name, cnn, images, targets, draws())
    other = explain(name, cnn, images, targets, draws(seed=1))

    assert torch.equal(first, second)
    assert torch.equal(first, other) != METHODS[name].stochastic


@every_method
def test_it_does_not_matter_whether_gradients_are_on(name, cnn, images, targets, draws):
    outside = explain(name, cnn, images, targets, draws())
    with torch.no_grad():
        inside = explain(name, cnn, images, targets, draws())
    attached = explain(name, cnn, images.clone().requires_grad_(), targets, draws())

    assert torch.equal(outside, inside)
    assert torch.equal(outside, attached)
    assert not attached.requires_grad


@every_method
def test_frozen_weights_give_the_same_map(name, cnn, images, targets, draws):
    free = explain(name, cnn, images, targets, draws())
    with cnn.audited():
        frozen = explain(name, cnn, images, targets, draws())

    assert torch.equal(free, frozen)


@every_method
def test_a_method_is_differentiable_if_it_says_so(name, cnn, images, targets, draws):
    images = images.requires_grad_()
    if METHODS[name].differentiable:
        saliency = explain(name, cnn, images, targets, draws(), graph=True)
        assert saliency.requires_grad
        assert torch.equal(saliency, explain(name, cnn, images, targets, draws()))
    else:
        with pytest.raises(UnsupportedError):
            explain(name, cnn, images, targets, draws(), graph=True)


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].differentiable])
@pytest.mark.parametrize("scalar", ["logit", "loss"])
@pytest.mark.parametrize("batch_size", [None, 3])
def test_the_derivative_of_a_map_is_that_of_finite_differences(
    name, scalar, batch_size, smooth, images, targets, draws
):
    generator = torch.Generator().manual_seed(7)
    images = images.double()
    way = torch.randn(images.shape, generator=generator).double()
    samples = {"samples": 4} if METHODS[name].stochastic else {}

    def some_number_of_the_map(pixels):
        saliency = explain(
            name,
            smooth,
            pixels,
            targets,
            draws(),
            scalar=scalar,
            graph=True,
            batch_size=batch_size,
            **samples,
        )
        weights = torch.rand(saliency.shape, generator=torch.Generator().manual_seed(8))
        return (saliency * weights.double()).sum()

    pixels = images.clone().requires_grad_()
    (derivative,) = torch.autograd.grad(some_number_of_the_map(pixels), pixels)
    step = 1e-7  # small, so that no magnitude or maximum changes side
    ahead, behind = (
        some_number_of_the_map((images + sign * step * way).requires_grad_()) for sign in (1, -1)
    )

    assert float((derivative * way).sum().detach()) == pytest.approx(
        float((ahead - behind).detach()) / (2 * step), rel=1e-4
    )


@every_method
@pytest.mark.parametrize("format", ["exported", "torchscript"])
def test_other_formats_give_the_same_map_or_are_refused(name, format, cnn, images, targets, draws):
    if format not in COMPILED:
        COMPILED[format] = compiled(cnn.network, images, format)
    network = COMPILED[format]
    other = cnn.replaced(network, format=format)

    if name in EAGER or (format == "torchscript" and name in NO_TORCHSCRIPT):
        with pytest.raises(UnsupportedError, match="--arch"):
            explain(name, other, images, targets, draws())
    else:
        torch.testing.assert_close(
            explain(name, other, images, targets, draws()),
            explain(name, cnn, images, targets, draws()),
            rtol=1e-4,
            atol=1e-5,
        )


@every_method
def test_an_unknown_scalar_is_refused(name, cnn, images, targets, draws):
    if METHODS[name].control:
        pytest.skip("a control explains no scalar")
    with pytest.raises(InputError, match="Did you mean 'logit'"):
        explain(name, cnn, images, targets, draws(), scalar="logits")


@every_method
def test_grey_images_of_odd_sides(name, draws):
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(3)
    ).eval()
    images = torch.rand(2, 1, 9, 5)
    network(images)
    model = Classifier(network, input_shape=(1, 9, 5))

    saliency = explain(name, model, images, torch.tensor([0, 2]), draws("ab"))

    assert saliency.shape == images.shape


def test_files_and_registry_agree():
    folder = Path(saliency_audit.methods.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}

    assert files == {m.function.__module__.rpartition(".")[2] for m in METHODS.values()}


def test_every_method_has_a_test():
    tests = "".join(
        path.read_text() for path in Path(__file__).parent.glob("test_*.py") if path != __file__
    )

    untested = [
        n for n in METHODS if not re.search(rf"import (\([^)]*|.*)\b{n.replace('-', '_')}\b", tests)
    ]

    assert not untested
