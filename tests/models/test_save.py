import errno
import warnings

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from saliency_audit.errors import UnsupportedError
from saliency_audit.models import load, save, save_state_dict

SHAPE = (3, 8, 10)


class Net(nn.Module):
    """A network with what goes wrong when it is saved carelessly."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 5)
        self.again = nn.Linear(5, 4)
        self.again.weight = nn.Parameter(torch.randn(4, 5))
        self.tied = self.again

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.drop(torch.relu_(self.norm(self.conv(images)))).mean((2, 3))
        return self.head(self.tied(self.head(hidden)))


class DependsOnCount(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        rows = [image.mean((1, 2)) for image in images]
        return torch.stack(rows) * len(rows)


@pytest.fixture
def network() -> Net:
    torch.manual_seed(0)
    return Net()


@pytest.mark.parametrize("format", ["module", "exported", "torchscript"])
def test_what_is_saved_gives_the_same_logits_for_any_number_of_images(format, network, tmp_path):
    path = tmp_path / "out.any"
    save(network, path, format=format, input_shape=SHAPE)
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    model = load(str(path), size=None if format != "torchscript" else 8)
    assert model.format == ("torchscript" if format == "torchscript" else "exported")
    network.eval()
    with torch.no_grad():
        for count in (1, 2, 5):
            images = torch.rand(count, *SHAPE)
            assert torch.allclose(model(images), network(images), atol=1e-5)
    assert [p.name for p in tmp_path.iterdir()] == ["out.any"]


def test_a_loaded_program_is_saved_again_under_the_same_layer_names(network, tmp_path):
    save(network, tmp_path / "a.pt2", format="exported", input_shape=SHAPE)
    first = load(str(tmp_path / "a.pt2"))

    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = first.network

        def forward(self, images: Tensor) -> Tensor:
            return self.network(images) + images.mean((1, 2, 3)).unsqueeze(1)

    save(Shifted(), tmp_path / "b.pt2", format="exported", input_shape=SHAPE)
    second = load(str(tmp_path / "b.pt2"))
    names = {name for name, _ in first.network.named_modules() if name}
    assert {"conv", "norm", "head"} <= names
    assert {f"network.{name}" for name in names} <= dict(second.network.named_modules()).keys()
    images = torch.rand(3, *SHAPE)
    with torch.no_grad():
        expected = network.eval()(images) + images.mean((1, 2, 3)).unsqueeze(1)
        assert torch.allclose(second(images), expected, atol=1e-5)


def test_torchscript_around_a_script_is_saved_by_tracing_or_scripting(network, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(network.eval()), tmp_path / "a.pt")
    first = load(str(tmp_path / "a.pt"), size=8)

    class Python(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = first.network

        def forward(self, images: Tensor) -> Tensor:
            # Scripting does not know setattr.
            setattr(self, "seen", 1)  # noqa: B010
            return 2 * self.network(images)

    save(Python(), tmp_path / "b.pt", format="torchscript", input_shape=SHAPE)
    images = torch.rand(5, *SHAPE)
    again = load(str(tmp_path / "b.pt"), size=8)
    with torch.no_grad():
        assert torch.allclose(again(images), 2 * network(images), atol=1e-5)


class Branching(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        # Neither the exporter nor the scripter nor a trace can follow this.
        pixels = images.detach().numpy()
        return torch.from_numpy(pixels).mean((2, 3)) * float(pixels.sum())


@pytest.mark.parametrize("format", ["module", "torchscript"])
def test_what_cannot_be_captured_is_one_line_and_leaves_nothing(format, tmp_path):
    with pytest.raises(UnsupportedError) as caught:
        save(Branching(), tmp_path / "m.pt2", format=format, input_shape=SHAPE)
    assert "\n" not in str(caught.value)
    assert "cannot be saved as" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_program_for_one_number_of_images_is_not_saved(tmp_path):
    with pytest.raises(UnsupportedError, match="any number of images"):
        save(DependsOnCount(), tmp_path / "m.pt2", format="module", input_shape=SHAPE)


def test_state_dict_keeps_names_and_values_and_copies_what_is_shared(network, tmp_path):
    path = tmp_path / "m.safetensors"
    save_state_dict(network, path)
    saved, own = load_file(path), network.state_dict()
    assert saved.keys() == own.keys()
    assert all(torch.equal(saved[name], own[name]) for name in own)
    assert torch.equal(saved["tied.weight"], saved["again.weight"])


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("what", ["program", "weights"])
def test_a_full_disk_leaves_the_old_file(step, what, network, tmp_path, monkeypatch):
    path = tmp_path / "m.pt2"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"os.{step}", full)
    write = {
        "program": lambda: save(network, path, format="module", input_shape=SHAPE),
        "weights": lambda: save_state_dict(network, path),
    }[what]
    with pytest.raises(OSError, match="No space left"):
        write()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["m.pt2"]


class NamesItsDevice(nn.Module):
    """Double precision and ranges: exported programs write the device into both."""

    def forward(self, images: Tensor) -> Tensor:
        places = torch.arange(images[0].numel(), device=images.device)
        return (images.double().flatten(1) * places).cumsum(1)[:, :3].float()


def test_a_program_runs_on_another_device_than_it_was_saved_on(tmp_path):
    path = tmp_path / "model.pt2"
    save(NamesItsDevice(), path, format="module", input_shape=(1, 4, 4))
    # "meta" stands in for a GPU: tensors there have shapes and a device and nothing else.
    model = load(str(path), device="meta")
    assert model(torch.empty(3, 1, 4, 4, device="meta")).shape == (3, 3)
