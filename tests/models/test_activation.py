import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.methods import METHODS
from saliency_audit.models import (
    Classifier,
    activation_metadata,
    copied,
    input_gradient,
    last_spatial_layer,
    load,
    randomised,
    reload,
    save,
    save_state_dict,
    surrogate,
    weight_layers,
)
from saliency_audit.models.files import sha256_of
from saliency_audit.seeding import generators

BETA = 10.0
SHAPE = (3, 10, 12)
COLOURS = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25)}


def softplus(x: Tensor) -> Tensor:
    return (1 + (BETA * x.double()).exp()).log().to(x.dtype) / BETA


class Net(nn.Module):
    """Activations as modules, in place and as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.act = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(6, 6, 3)
        self.leaky = nn.LeakyReLU(0.1)
        self.head = nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.leaky(self.second(self.act(self.norm(self.first(images)))))
        return self.head(F.relu(hidden - 0.05).mean((2, 3)))


class Twin(Net):
    """The same network with softplus written out."""

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.second(softplus(self.norm(self.first(images))))
        hidden = 0.1 * hidden + 0.9 * softplus(hidden)
        return self.head(softplus(hidden - 0.05).mean((2, 3)))


def plain() -> nn.Sequential:
    """A network of what all methods know."""
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    ).eval()


def smooth_network() -> Net:
    return Net()


@pytest.fixture
def network() -> Net:
    torch.manual_seed(0)
    network = Net().eval()
    nn.init.uniform_(network.norm.running_mean, -0.5, 0.5)
    for parameter in network.parameters():
        parameter.data *= 2
    return network


@pytest.fixture
def twin(network) -> Classifier:
    twin = Twin().eval()
    twin.load_state_dict(network.state_dict())
    return Classifier(twin, input_shape=SHAPE, **COLOURS)


@pytest.fixture
def model(network) -> Classifier:
    return Classifier(network, input_shape=SHAPE, activation=("softplus", BETA), **COLOURS)


@pytest.fixture
def pixels() -> Tensor:
    return torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(1))


CLASSES = torch.tensor([0, 3, 1])


def relu_model(model: Classifier) -> Classifier:
    return model.replaced(model.network, activation=None)


def test_files_of_the_same_weights_are_the_same_bytes(tmp_path):
    """Of eight orders of the metadata one would have been another one."""
    network, written = nn.Linear(3, 2), set()
    for i in range(8):
        path = tmp_path / f"{i}.safetensors"
        save_state_dict(network, path, metadata=activation_metadata(("softplus", 10.0)))
        written.add(path.read_bytes())
        for name, tensor in load_file(path).items():
            assert torch.equal(tensor, network.state_dict()[name])
    assert len(written) == 1


def test_logits_and_gradients_of_pixels_and_weights_are_those_of_softplus(model, twin, pixels):
    for other in (model, twin):
        other.double()
    pixels = pixels.double()
    assert torch.allclose(model(pixels), twin(pixels), atol=1e-8)
    assert (relu_model(model)(pixels) - twin(pixels)).abs().max() > 0.02
    gradients = {}
    for name, other in (("model", model), ("twin", twin)):
        gradient = input_gradient(other, pixels.clone().requires_grad_(), CLASSES, graph=True)
        of_weights = torch.autograd.grad(gradient.square().sum(), other.network.first.weight)
        gradients[name] = (gradient, *of_weights)
    for ours, theirs in zip(gradients["model"], gradients["twin"], strict=True):
        assert ours.abs().max() > 1e-3
        assert torch.allclose(ours, theirs, rtol=1e-7, atol=1e-7)  # F.softplus is linear above 20


def test_names_and_weights_are_the_networks_own(model, network, pixels):
    bare = Classifier(network, input_shape=SHAPE, **COLOURS)
    assert model.state_dict().keys() == bare.state_dict().keys()
    assert dict(model.named_modules()).keys() == dict(bare.named_modules()).keys()
    assert last_spatial_layer(model, pixels) == last_spatial_layer(bare, pixels)
    assert bare.activation is None


@pytest.mark.parametrize(("kind", "beta"), [("softplus", 1.0), ("exact-forward", 30.0)])
def test_a_surrogate_around_it_changes_nothing(kind, beta, model, pixels):
    alone = input_gradient(model, pixels, CLASSES)
    with surrogate(model, kind, beta=beta) as context:
        inside = input_gradient(model, pixels, CLASSES)
        logits = model(pixels)
    assert torch.equal(inside, alone)
    assert torch.equal(logits, model(pixels))
    assert not context.replaced
    # It would change the same network without an activation of its own.
    with surrogate(model, kind, beta=beta) as context:
        relu_model(model)(pixels)
    assert context.replaced["relu"] == 2


@pytest.mark.parametrize(
    "name", ["gradient", "smoothgrad", "integrated-gradients", "gradcam", "occlusion", "deeplift"]
)
def test_maps_are_those_of_the_twin(name, model, twin, pixels):
    def explained(other: Classifier) -> Tensor:
        draws = generators(0, ["a", "b", "c"], name)
        layer = {"layer": "second"} if name == "gradcam" else {}
        return METHODS[name].function(other, pixels, CLASSES, generators=draws, **layer)

    maps = explained(model)
    assert torch.allclose(maps, explained(twin), rtol=1e-3, atol=1e-4 * float(maps.abs().max()))
    assert not torch.allclose(maps, explained(relu_model(model)), rtol=1e-2)


@pytest.mark.parametrize("name", ["guided-backprop", "guided-gradcam", "lrp"])
def test_methods_with_a_rule_for_relu_refuse(name, pixels):
    method = METHODS[name].function
    relu = Classifier(plain(), input_shape=SHAPE)
    assert method(relu, pixels, CLASSES).isfinite().all()
    with pytest.raises(UnsupportedError, match=r"has a rule for ReLU.* use gradient") as refused:
        method(relu.replaced(relu.network, activation=("softplus", BETA)), pixels, CLASSES)
    assert "\n" not in str(refused.value)


def test_fullgrad_refuses_unless_softplus_is_as_good_as_relu(pixels):
    method = METHODS["fullgrad"].function
    relu = Classifier(plain(), input_shape=SHAPE)
    with pytest.raises(UnsupportedError, match="FullGrad does not hold"):
        method(relu.replaced(relu.network, activation=("softplus", BETA)), pixels, CLASSES)
    sharp = relu.replaced(relu.network, activation=("softplus", 1e5))
    ours, theirs = method(sharp, pixels, CLASSES), method(relu, pixels, CLASSES)
    assert torch.allclose(ours, theirs, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("activation", "words"),
    [
        (("exact-forward", 10.0), "unknown activation 'exact-forward'"),
        (("softplus", 0.0), "--beta is 0;"),
        (("softplus", float("nan")), "--beta is nan;"),
        (("softplus", float("inf")), "--beta is inf;"),
    ],
)
def test_there_is_no_other_activation(activation, words, network):
    with pytest.raises(InputError, match=words):
        Classifier(network, input_shape=SHAPE, activation=activation)


def test_torchscript_is_refused(network, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.jit.script(network)
    with pytest.raises(UnsupportedError, match="TorchScript"):
        Classifier(program, input_shape=SHAPE, activation=("softplus", BETA))
    with pytest.raises(UnsupportedError, match=r"cannot be saved as TorchScript; save a \.pt2"):
        save(
            network,
            tmp_path / "m.pt",
            format="torchscript",
            input_shape=SHAPE,
            activation=("softplus", BETA),
        )
    assert not list(tmp_path.iterdir())


def test_a_saved_program_computes_with_softplus_by_itself(model, twin, pixels, tmp_path):
    def saved(network: nn.Module, name: str) -> Classifier:
        path = tmp_path / name
        save(network, path, format="module", input_shape=SHAPE, activation=model.activation)
        return load(str(path), **COLOURS)

    program = saved(model.network, "once.pt2")
    # A program that runs ReLU is replaced in the same way, one that runs softplus stays.
    save(model.network, tmp_path / "relu.pt2", format="module", input_shape=SHAPE)
    relu = load(str(tmp_path / "relu.pt2"), **COLOURS)
    again = saved(relu.network, "from-relu.pt2")
    still = saved(program.network, "twice.pt2")
    with torch.no_grad():
        for images in (pixels, pixels[:1], pixels.repeat(3, 1, 1, 1)):
            expected = twin(images)
            for other in (program, again, still):
                assert other.activation is None
                assert torch.allclose(other(images), expected, atol=1e-5)
            assert (relu(images) - expected).abs().max() > 0.02
    assert {"first", "second", "head"} <= dict(program.network.named_modules()).keys()
    assert torch.equal(model(pixels), model(pixels))
    assert isinstance(model.network.act, nn.ReLU)


def test_weights_are_saved_under_their_own_names_beside_what_they_run_with(
    model, twin, pixels, tmp_path
):
    path = tmp_path / "model.safetensors"
    save_state_dict(model.network, path, metadata=activation_metadata(model.activation))
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"activation": "softplus", "beta": "10"}
    state = load_file(path)
    assert state.keys() == Net().state_dict().keys()
    plain = Twin()
    plain.load_state_dict(state)
    read = load(str(path), arch="tests.models.test_activation:smooth_network", size=10, **COLOURS)
    assert read.activation == ("softplus", 10.0)
    assert (
        "model.safetensors was trained with softplus (beta 10) in place of ReLU; "
        "that is what is run"
    ) in read.notes
    with torch.no_grad():
        assert torch.equal(read(pixels), model(pixels))
        normalised = (pixels - model.mean) / model.std
        assert torch.allclose(read(pixels), plain.eval()(normalised), atol=1e-5)
    save_state_dict(model.network, path, metadata=activation_metadata(None))
    with safe_open(path, "pt") as file:
        assert file.metadata() is None


@pytest.mark.parametrize("beta", [10.0, 0.1, 1 / 3, 1e-7, 12345678.9])
def test_beta_is_written_to_the_last_digit(beta):
    assert float(activation_metadata(("softplus", beta))["beta"]) == beta


ARCH = "tests.models.test_activation:smooth_network"


@pytest.mark.parametrize(
    ("said", "activation"),
    [
        (["softplus", 10.0], ("softplus", 10.0)),
        (("softplus", 3), ("softplus", 3.0)),
        ("relu", None),
        (["relu", "gelu"], None),
        (["softplus"], None),
        (None, None),
    ],
)
def test_a_checkpoint_says_what_it_was_trained_with(said, activation, network, tmp_path):
    path = tmp_path / "last.pt"
    torch.save({"state_dict": network.state_dict(), "activation": said, "step": 3}, path)
    model = load(str(path), arch=ARCH)
    assert model.activation == activation
    assert any("trained with softplus" in note for note in model.notes) == bool(activation)


def test_what_other_files_say_is_left_alone_unless_it_means_nothing(network, tmp_path):
    path = tmp_path / "other.safetensors"
    for metadata in (None, {"format": "pt"}, {"activation": "gelu"}, {"activation": "softplus"}):
        save_file(network.state_dict(), path, metadata=metadata)
        assert load(str(path), arch=ARCH).activation is None
    for beta in ("0", "-1", "nan", "ten"):
        save_file(network.state_dict(), path, metadata={"activation": "softplus", "beta": beta})
        with pytest.raises(InputError, match=rf"other.*softplus of beta {beta}; beta must be"):
            load(str(path), arch=ARCH)


def test_what_is_made_of_the_model_keeps_it(model, network, pixels, tmp_path):
    bare = Classifier(network, input_shape=SHAPE, **COLOURS)
    kept = model.replaced(copied(model), name="copy", precision="bf16")
    assert kept.activation == ("softplus", BETA)
    assert copy.deepcopy(model).activation == ("softplus", BETA)

    save_state_dict(
        network, tmp_path / "said.safetensors", metadata=activation_metadata(("softplus", 5.0))
    )
    save_state_dict(network, tmp_path / "unsaid.safetensors")
    save(network, tmp_path / "relu.pt2", format="module", input_shape=SHAPE)
    assert reload(tmp_path / "said.safetensors", bare).activation == ("softplus", 5.0)
    assert reload(tmp_path / "unsaid.safetensors", model).activation == ("softplus", BETA)
    assert reload(tmp_path / "unsaid.safetensors", bare).activation is None
    # What is kept of a model goes by this: a variant is not what it was made from.
    assert reload(tmp_path / "said.safetensors", bare).sha256 == sha256_of(
        tmp_path / "said.safetensors"
    )
    # A program is run as it is, so that what is measured is what was saved.
    program = reload(tmp_path / "relu.pt2", model)
    assert torch.allclose(program(pixels), bare(pixels), atol=1e-5)


def test_randomised_weights_run_softplus(model, twin, pixels):
    layers = {layer.name: layer for layer in weight_layers(model, pixels)}
    before = model(pixels)
    with randomised(how="reinit", seed=3) as randomise:
        randomise(layers["second"])
        twin.network.load_state_dict(model.network.state_dict())
        assert torch.allclose(model(pixels), twin(pixels), atol=1e-5)
        assert not torch.allclose(model(pixels), before)
    assert torch.equal(model(pixels), before)
