import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.models import Classifier, agreement, input_gradient, load, save, surrogate

KINDS = ["softplus", "exact-forward"]
BETA = 3.0


def derivatives(function, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value, first and second derivative of a function of one number, for many numbers."""
    x = x.clone().requires_grad_()
    y = function(x)
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    if not first.requires_grad:
        return y.detach(), first, torch.zeros_like(first)
    (second,) = torch.autograd.grad(first.sum(), x)
    return y.detach(), first.detach(), second


def softplus(x: Tensor) -> Tensor:
    return (1 + (BETA * x).exp()).log() / BETA


def ramp(x: Tensor, low: float, high: float) -> Tensor:
    return low + softplus(x - low) - softplus(x - high)


def in_place(function):
    return lambda x: function(x.clone())


# Each way to call an activation, and its smooth version written out.
CALLS = {
    "F.relu": (F.relu, softplus),
    "F.relu inplace": (in_place(lambda x: F.relu(x, inplace=True)), softplus),
    "F.relu positional": (in_place(lambda x: F.relu(x, True)), softplus),
    "F.relu by name": (lambda x: F.relu(input=x), softplus),
    "torch.relu": (torch.relu, softplus),
    "torch.relu_": (in_place(torch.relu_), softplus),
    "Tensor.relu": (Tensor.relu, softplus),
    "Tensor.relu_": (in_place(Tensor.relu_), softplus),
    "aten.relu": (torch.ops.aten.relu.default, softplus),
    "aten.relu packet": (torch.ops.aten.relu, softplus),
    "aten.relu_": (in_place(torch.ops.aten.relu_.default), softplus),
    "nn.ReLU": (nn.ReLU(), softplus),
    "nn.ReLU inplace": (in_place(nn.ReLU(inplace=True)), softplus),
    "nn.ReLU6": (nn.ReLU6(), lambda x: ramp(x, 0, 6)),
    "nn.ReLU6 inplace": (in_place(nn.ReLU6(inplace=True)), lambda x: ramp(x, 0, 6)),
    "F.relu6": (F.relu6, lambda x: ramp(x, 0, 6)),
    "nn.Hardtanh": (nn.Hardtanh(), lambda x: ramp(x, -1, 1)),
    "nn.Hardtanh bounds": (nn.Hardtanh(-0.5, 2.0, inplace=False), lambda x: ramp(x, -0.5, 2)),
    "F.hardtanh names": (lambda x: F.hardtanh(x, max_val=2.0), lambda x: ramp(x, -1, 2)),
    "F.hardtanh_": (in_place(lambda x: F.hardtanh_(x, 0.0, 6.0)), lambda x: ramp(x, 0, 6)),
    "aten.hardtanh": (
        lambda x: torch.ops.aten.hardtanh.default(x, 0.0, 6.0),
        lambda x: ramp(x, 0, 6),
    ),
    "nn.LeakyReLU": (nn.LeakyReLU(0.2), lambda x: 0.2 * x + 0.8 * softplus(x)),
    "nn.LeakyReLU inplace": (
        in_place(nn.LeakyReLU(0.2, inplace=True)),
        lambda x: 0.2 * x + 0.8 * softplus(x),
    ),
    "F.leaky_relu name": (
        lambda x: F.leaky_relu(x, negative_slope=0.2),
        lambda x: 0.2 * x + 0.8 * softplus(x),
    ),
    "nn.Hardsigmoid": (nn.Hardsigmoid(), lambda x: ramp(x + 3, 0, 6) / 6),
    "nn.Hardswish": (nn.Hardswish(), lambda x: x * ramp(x + 3, 0, 6) / 6),
    "nn.Hardswish inplace": (
        in_place(nn.Hardswish(inplace=True)),
        lambda x: x * ramp(x + 3, 0, 6) / 6,
    ),
    "nn.PReLU": (nn.PReLU(init=0.2).double(), lambda x: 0.2 * x + 0.8 * softplus(x)),
    "nn.Threshold": (nn.Threshold(0.5, 0.5), lambda x: 0.5 + softplus(x - 0.5)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CALLS)
def test_every_call_has_the_derivatives_of_its_smooth_version(name, kind):
    call, smooth = CALLS[name]
    x = torch.linspace(-6.3, 7.1, 41, dtype=torch.float64)
    exact = call(x.clone()).detach()
    with surrogate(nn.ReLU(), kind, beta=BETA) as context:
        value, first, second = derivatives(call, x)
    expected = derivatives(smooth, x)
    assert context.replaced.total() == 1
    if kind == "exact-forward":
        assert torch.equal(value, exact)
    else:
        assert torch.allclose(value, expected[0], atol=1e-9)
        # Softplus is farthest from the ReLU at 0: ln 2 / beta. Hardswish multiplies it by x / 6.
        factor = 9.3 / 6 * 2 if "swish" in name else 1
        assert float((value - exact).abs().max()) <= factor * math.log(2) / BETA + 1e-9
    assert torch.allclose(first, expected[1], atol=1e-8)
    # torch's softplus is linear from beta x = 20 on.
    assert torch.allclose(second, expected[2], atol=1e-7)
    assert float(second.abs().max()) > 0.05


def test_prelu_per_channel_and_the_gradient_of_its_weight():
    prelu = nn.PReLU(2).double()
    with torch.no_grad():
        prelu.weight.copy_(torch.tensor([0.1, 0.4]))
    x = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    gradients = []
    for kind in KINDS:
        with surrogate(prelu, kind, beta=BETA):
            y = prelu(x)
        gradients.append(torch.autograd.grad(y.sum(), prelu.weight)[0])
        assert torch.equal(y, F.prelu(x, prelu.weight)) == (kind == "exact-forward")
    assert torch.allclose(gradients[0], (x - softplus(x)).sum((0, 2, 3)))
    assert torch.allclose(gradients[0], gradients[1])


def test_softplus_is_ln2_over_beta_from_relu_at_zero_and_nowhere_farther():
    x = torch.linspace(-3, 3, 601, dtype=torch.float64)
    with surrogate(nn.ReLU(), "softplus", beta=10.0):
        smooth = torch.relu(x)
    gap = smooth - x.clamp_min(0)
    assert float(gap.max()) == pytest.approx(math.log(2) / 10)
    assert int(gap.argmax()) == 300


@pytest.mark.parametrize("kind", KINDS)
def test_one_hidden_layer_has_its_closed_form_hessian(kind):
    generator = torch.Generator().manual_seed(0)
    w, b, a = (torch.randn(s, generator=generator).double() for s in ((7, 4), (7,), (7,)))

    def network(x: Tensor) -> Tensor:
        return (a * F.relu(x @ w.T + b)).sum()

    x = torch.randn(4, generator=generator).double()
    with surrogate(nn.ReLU(), kind, beta=BETA):
        gradient = torch.autograd.functional.jacobian(network, x)
        hessian = torch.autograd.functional.hessian(network, x)
    s = torch.sigmoid(BETA * (w @ x + b))
    curvature = a * BETA * s * (1 - s)
    assert torch.allclose(gradient, (a * s) @ w, atol=1e-10)
    assert torch.allclose(hessian, torch.einsum("k,ki,kj->ij", curvature, w, w), atol=1e-10)
    assert torch.allclose(hessian.trace(), (curvature * w.square().sum(1)).sum(), atol=1e-10)
    # The ReLU network's own is zero: that is what the surrogate is for.
    assert not torch.autograd.functional.hessian(network, x).any()


@pytest.mark.parametrize("kind", KINDS)
def test_in_place_calls_change_their_input_and_its_other_users_see_that(kind):
    class Ignores(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            hidden = 2 * x
            nn.ReLU(inplace=True)(hidden)
            return hidden

    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    with surrogate(nn.ReLU(), kind, beta=BETA):
        value, first, second = derivatives(Ignores(), x)
        leaf = x.clone()
        torch.relu_(leaf)
    expected = derivatives(lambda x: softplus(2 * x), x)
    assert torch.allclose(first, expected[1])
    assert torch.allclose(second, expected[2])
    assert torch.allclose(value, expected[0] if kind == "softplus" else (2 * x).clamp_min(0))
    assert bool((leaf >= 0).all())
    assert not torch.equal(leaf, x)


def test_what_is_smooth_or_jumps_is_left_alone():
    x = torch.linspace(-2, 2, 9)
    with surrogate(nn.ReLU(), "softplus", beta=BETA) as context:
        for function in (F.gelu, F.silu, F.elu, torch.tanh, lambda x: x.clamp(min=0.1)):
            smooth = function(x)
            context.__exit__(None, None, None)
            assert torch.equal(smooth, function(x))
            context.__enter__()
        assert torch.equal(F.threshold(x, 0.5, 0.0), torch.where(x > 0.5, x, torch.zeros(9)))
    assert not context.replaced


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU6(inplace=True),
        nn.Conv2d(6, 6, 3),
        nn.Hardswish(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 4),
        nn.ReLU(),
        nn.Linear(4, 3),
    ).eval()


@pytest.mark.parametrize("form", ["module", "exported"])
def test_networks_of_both_forms_become_smooth_and_are_left_as_they_were(form, network, tmp_path):
    model = Classifier(network, input_shape=(3, 10, 10))
    if form == "exported":
        save(network, tmp_path / "m.pt2", format="module", input_shape=(3, 10, 10))
        model = load(str(tmp_path / "m.pt2"))
    images, targets = torch.rand(2, 3, 10, 10), torch.tensor([0, 2])
    before, state = model(images), {k: v.clone() for k, v in model.state_dict().items()}
    modules = [type(module) for module in model.modules()]
    with surrogate(model, "exact-forward", beta=BETA) as context:
        assert torch.equal(model(images), before)
        assert context.replaced.total() == 3
        pixels = images.clone().requires_grad_()
        gradient = input_gradient(model, pixels, targets, graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), pixels)
    assert bool(second.any())
    with surrogate(model, "softplus", beta=BETA):
        assert not torch.equal(model(images), before)
    assert torch.equal(model(images), before)
    assert [type(module) for module in model.modules()] == modules
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_the_two_forms_have_the_same_second_derivatives(network, tmp_path):
    save(network, tmp_path / "m.pt2", format="module", input_shape=(3, 10, 10))
    images, targets = torch.rand(2, 3, 10, 10), torch.tensor([0, 2])
    results = []
    for model in (Classifier(network, input_shape=(3, 10, 10)), load(str(tmp_path / "m.pt2"))):
        with surrogate(model, "softplus", beta=BETA):
            pixels = images.clone().requires_grad_()
            gradient = input_gradient(model, pixels, targets, graph=True)
            results.append(torch.autograd.grad(gradient.square().sum(), pixels)[0])
    assert torch.allclose(*results, rtol=1e-4, atol=1e-8)


def test_nothing_is_left_after_an_error():
    x = torch.tensor([-1.0, 0.0])
    with pytest.raises(KeyError), surrogate(nn.ReLU(), "softplus", beta=BETA):
        raise KeyError
    assert torch.equal(F.relu(x), torch.zeros(2))


def test_torchscript_is_refused_wherever_it_sits(network):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(network)
    for model in (script, nn.Sequential(nn.Identity(), script)):
        with pytest.raises(UnsupportedError, match=r"--arch, or a \.pt2 program"):
            surrogate(model, "softplus", beta=BETA)


@pytest.mark.parametrize(
    ("kind", "beta", "words"),
    [("soft", 1.0, "Did you mean 'softplus'"), ("softplus", 0.0, "beta is 0.0")],
)
def test_wrong_options(kind, beta, words):
    with pytest.raises(InputError, match=words):
        surrogate(nn.ReLU(), kind, beta=beta)


def test_agreement_is_full_for_a_smooth_network_and_grows_with_beta(network):
    images, targets = torch.rand(6, 3, 10, 10), torch.zeros(6, dtype=torch.long)
    smooth = nn.Sequential(nn.Flatten(), nn.Linear(300, 4), nn.Tanh(), nn.Linear(4, 3))
    model = Classifier(smooth, input_shape=(3, 10, 10))
    same = agreement(model, images, targets, kind="softplus", beta=1.0)
    assert same.predictions == 1.0
    assert torch.allclose(same.cosine, torch.ones(6))
    assert not same.replaced
    model = Classifier(network, input_shape=(3, 10, 10))
    cosines = [
        float(agreement(model, images, targets, kind=kind, beta=beta, batch_size=4).cosine.mean())
        for kind in KINDS
        for beta in (1.0, 1000.0)
    ]
    assert cosines[1] > 0.99
    assert cosines[3] > 0.99
    assert cosines[0] < cosines[1]
    assert cosines[2] < cosines[3]
    exact = agreement(model, images, targets, kind="exact-forward", beta=1.0)
    assert exact.predictions == 1.0
    assert set(exact.replaced) == {"relu", "hardtanh", "hardswish"}


def test_agreement_of_a_map_of_zeros_is_undefined():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    nn.init.zeros_(network[1].weight)
    model = Classifier(network, input_shape=(1, 2, 2))
    found = agreement(
        model, torch.rand(2, 1, 2, 2), torch.tensor([0, 1]), kind="softplus", beta=1.0
    )
    assert bool(found.cosine.isnan().all())
