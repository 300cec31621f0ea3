"""``--channels-last``: another layout of the same weights, so the same numbers up to round-off."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from saliency_audit.errors import UnsupportedError
from saliency_audit.models import (
    Classifier,
    copied,
    is_channels_last,
    load,
    randomised,
    reload,
    save,
    save_state_dict,
    weight_layers,
)
from saliency_audit.models.channels_last import lay_out_channels_last


class Views(nn.Module):
    """Reads what a convolution gave through ``view``, which takes one layout only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4 * 6 * 6, 5)

    def forward(self, images):
        maps = self.conv(images).relu()
        return self.head(maps.view(len(maps), -1))


def kernels(network):
    return [p for p in network.parameters() if p.ndim == 4]


def test_logits_and_second_derivatives_are_the_same_up_to_round_off(smooth, images):
    def derivatives():
        pixels = images.double().requires_grad_()
        logits = smooth(pixels)
        (first,) = torch.autograd.grad(logits[:, 0].sum(), pixels, create_graph=True)
        return [logits, first, *torch.autograd.grad(first.square().sum(), pixels)]

    usual, values = derivatives(), [p.clone() for p in smooth.network.parameters()]
    lay_out_channels_last(smooth)
    assert is_channels_last(smooth)
    for before, after in zip(values, smooth.network.parameters(), strict=True):
        assert torch.equal(before, after)
    for before, after in zip(usual, derivatives(), strict=True):
        torch.testing.assert_close(after, before, rtol=1e-12, atol=1e-13)


def test_random_weights_are_those_of_the_usual_layout():
    grey = torch.full((1, 1, 28, 28), 0.5)
    for how in ("reinit", "shuffle"):
        drawn = []
        for model in (load(None), load(None, channels_last=True)):
            with model.audited(), randomised(how=how, seed=3) as randomise:
                for layer in weight_layers(model, grey):
                    randomise(layer)
                drawn.append([p.clone() for p in model.network.parameters()])
        assert all(map(torch.equal, *drawn))


@pytest.mark.parametrize("format", ["module", "exported"])
def test_copies_and_saved_programs_keep_the_layout(format, tmp_path, cnn, images):
    path = tmp_path / "model.pt2"
    save(cnn.network, path, format="exported", input_shape=cnn.input_shape)
    model = cnn if format == "module" else reload(path, cnn)
    usual = model(images)
    lay_out_channels_last(model)
    save(model.network, path, format=format, input_shape=model.input_shape)
    for network in (model.network, copied(model), reload(path, model).network):
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels(network))
        torch.testing.assert_close(model.replaced(network)(images), usual)


def test_saved_weights_are_the_same_bytes(tmp_path, cnn):
    save_state_dict(cnn.network, tmp_path / "usual.safetensors")
    lay_out_channels_last(cnn)
    save_state_dict(cnn.network, tmp_path / "last.safetensors")
    usual, last = (tmp_path / f"{name}.safetensors" for name in ("usual", "last"))
    assert usual.read_bytes() == last.read_bytes()


def test_torchscript_programs(cnn, images):
    traced = torch.jit.trace(cnn.network, images)
    model = cnn.replaced(traced, format="torchscript")
    usual = model(images)
    lay_out_channels_last(model)
    assert is_channels_last(model)
    torch.testing.assert_close(model(images), usual)


def test_code_that_takes_one_layout_only_is_refused_and_left_as_it_was():
    model = Classifier(Views().eval(), input_shape=(3, 8, 8), name="views")
    images = torch.rand(2, 3, 8, 8)
    usual = model(images)
    with pytest.raises(UnsupportedError) as caught:
        lay_out_channels_last(model)
    assert "views does not run so (RuntimeError: view size" in str(caught.value)
    assert str(caught.value).endswith("leave it, or write flatten or reshape for view in its code")
    assert not is_channels_last(model)
    assert torch.equal(model(images), usual)


def test_images_of_the_wrong_size_are_explained_later_as_ever():
    model = Classifier(Views().eval(), input_shape=(3, 9, 9))
    lay_out_channels_last(model)
    assert not is_channels_last(model)


def test_networks_without_convolutions_are_refused():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    with pytest.raises(UnsupportedError, match="is for convolutions, and model has none; leave it"):
        lay_out_channels_last(Classifier(network, input_shape=(3, 2, 2)))


def test_maps_and_metrics_of_a_run_are_the_same_up_to_round_off(run):
    methods = ["gradient", "gradcam", "lrp", "guided-backprop"]
    options = [word for method in methods for word in ("--saliency", method)]
    tables = []
    for folder, layout in (("usual", []), ("last", ["--channels-last"])):
        command = ["evaluate", *options, "--metric", "deletion", "--max-samples", "4"]
        assert run(*command, *layout, "--output-dir", folder).code == 0
        tables.append(pd.read_csv(Path(folder) / "results.csv"))
    usual, last = tables
    assert len(usual) > 16
    pd.testing.assert_frame_equal(usual, last, rtol=2e-3, atol=1e-5)
    # The option was heard: round-off shows in the last digits.
    assert not usual.equals(last)
    again = run(*command, "--channels-last", "--output-dir", "usual", "--resume")
    assert again.code == 2
    assert "channels last" in again.err


def test_a_refusal_is_one_line_and_exit_2(run):
    Path("mlp_net.py").write_text(
        "from torch import nn\n"
        "def build(): return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
    )
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).state_dict(), "mlp.pt")
    options = ["--arch", "mlp_net:build", "--size", "28", "--channels", "1"]
    refused = run("check", "mlp.pt", *options, "--channels-last")
    assert refused.code == 2
    assert "--channels-last is for convolutions, and mlp.pt has none; leave it" in refused.err
