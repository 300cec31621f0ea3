import pytest
import torch
from torch import Tensor, nn

from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.models import Classifier, fresh, load, reinitialised, save, trainable

HERE = "tests.models.test_fresh"
SHAPE = (3, 8, 8)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.bare = nn.BatchNorm2d(4, affine=False)
        self.head = nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.bare(self.norm(self.conv(images)).relu()).mean((2, 3)))


def make() -> Net:
    return Net()


class WithToken(Net):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(5))

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + self.token


def trained(network: nn.Module) -> Classifier:
    """As after some training: no weight and no statistic is where it started."""
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.add_(1)
    return Classifier(
        network.eval(),
        input_shape=SHAPE,
        mean=(0.4, 0.5, 0.6),
        std=0.2,
        name="given",
        layer="conv",
        activation=("softplus", 10.0),
    )


def test_fresh_weights_are_those_the_code_draws_after_the_seed():
    torch.manual_seed(7)
    expected = Net().state_dict()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    model = fresh(f"{HERE}:make", size=8, mean=0.5, std=0.25, seed=7, layer="conv")
    assert torch.equal(torch.get_rng_state(), before)
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    other = fresh(f"{HERE}:make", size=8, seed=8)
    assert not torch.equal(other.network.conv.weight, model.network.conv.weight)
    assert other.sha256 != model.sha256
    assert model.name == model.source == f"{HERE}:make"
    assert (model.input_shape, model.layer, model.format) == (SHAPE, "conv", "module")
    images = torch.rand(2, *SHAPE)
    with torch.no_grad():
        assert torch.equal(model(images), model.network((images - 0.5) / 0.25))
    assert not any(module.training for module in model.modules())
    assert model.notes == [f"{HERE}:make starts from random weights (seed 7)"]
    assert any("mean 0 and std 1 assumed" in note for note in other.notes)


def test_fresh_takes_the_size_that_torchvision_is_known_to_have():
    assert fresh("torchvision:squeezenet1_1").input_shape == (3, 224, 224)
    assert fresh(f"{HERE}:make").input_shape == (3, 224, 224)


@pytest.mark.parametrize(
    ("arch", "options", "words"),
    [
        (f"{HERE}:absent", {}, "absent"),
        ("nothing", {}, "nothing"),
        (f"{HERE}:make", {"size": 0}, "--size is 0"),
        (f"{HERE}:make", {"mean": (0.1, 0.2)}, "--mean has 2 values"),
    ],
)
def test_fresh_refuses_in_one_line(arch, options, words):
    with pytest.raises(InputError, match=words) as refused:
        fresh(arch, **options)
    assert "\n" not in str(refused.value)


def test_reinitialised_draws_every_weight_and_resets_statistics():
    model = trained(Net())
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    random = torch.get_rng_state()
    new = reinitialised(model, seed=3)
    assert torch.equal(torch.get_rng_state(), random)
    state = new.network.state_dict()
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
        assert tensor.data_ptr() != state[name].data_ptr()
    # Kaiming-uniform with a = sqrt(5), as torch documents it: bounded by 1 / sqrt(fan in).
    for layer, fan in (("conv", 27), ("head", 4)):
        for kind in ("weight", "bias"):
            weight = state[f"{layer}.{kind}"]
            assert 0 < weight.abs().max() <= fan**-0.5
            assert not torch.equal(weight, before[f"{layer}.{kind}"])
    for name in ("norm", "bare"):
        assert torch.equal(state[f"{name}.running_mean"], torch.zeros(4))
        assert torch.equal(state[f"{name}.running_var"], torch.ones(4))
        assert state[f"{name}.num_batches_tracked"] == 0
    assert torch.equal(state["norm.weight"], torch.ones(4))
    assert torch.equal(state["norm.bias"], torch.zeros(4))


def test_reinitialised_is_the_same_classifier_and_depends_on_the_seed_alone():
    model = trained(Net())
    new, same, other = (reinitialised(model, seed=seed) for seed in (3, 3, 4))
    for name, tensor in new.network.state_dict().items():
        assert torch.equal(tensor, same.network.state_dict()[name])
    assert not torch.equal(new.network.conv.weight, other.network.conv.weight)
    assert (new.name, new.layer, new.activation) == ("given", "conv", ("softplus", 10.0))
    assert torch.equal(new.mean, model.mean)
    assert torch.equal(new.std, model.std)
    assert all(parameter.requires_grad for parameter in new.network.parameters())
    model.train()
    assert all(module.training for module in reinitialised(model, seed=3).network.modules())
    assert torch.equal(model.network.norm.num_batches_tracked, torch.tensor(1))


def test_weights_without_an_initialisation_are_named_with_what_works():
    model = trained(WithToken())
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    with pytest.raises(UnsupportedError, match=r"'token'.*; give --arch alone") as refused:
        reinitialised(model, seed=0)
    assert "shuffle" not in str(refused.value)
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("format", ["exported", "torchscript"])
def test_programs_cannot_be_trained(format, tmp_path):
    path = tmp_path / ("model.pt2" if format == "exported" else "model.pt")
    save(Net(), path, format=format, input_shape=SHAPE)
    model = load(str(path), size=8)
    for refuse in (trainable, lambda model: reinitialised(model, seed=0)):
        with pytest.raises(UnsupportedError) as refused:
            refuse(model)
        assert str(refused.value) == (
            f"{path.name} is a program whose weights cannot be trained here; give the state dict "
            "with --arch, such as model.safetensors --arch package.module:factory"
        )
    trainable(trained(Net()))
