"""What every command says at its start of a model that is no function of one image."""

import json
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from saliency_audit.assets import bundled_model

COMMANDS = ("fool", "attack", "evaluate", "gate", "finetune")
FEW = ("--max-samples", 8)


class Then(nn.Module):
    def __init__(self, last):
        super().__init__()
        self.network, self.last = bundled_model(), last

    def forward(self, images):
        return self.last(self.network(images))


def beside(logits):
    return logits + 10 * logits.mean(0, keepdim=True)


def dropped():
    return Then(lambda logits: F.dropout(logits, 0.3, training=True))


def mixed():
    return Then(beside)


def softened():
    return nn.Sequential(bundled_model(), nn.Softmax(1))


def written(network, path):
    network = network.eval()
    images = torch.rand(2, 1, 28, 28)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.suffix == ".pt2":
            shapes = ({0: torch.export.Dim("batch")},)
            torch.export.save(torch.export.export(network, (images,), dynamic_shapes=shapes), path)
        elif path.suffix == ".pt":
            torch.jit.save(torch.jit.trace(network, (images,), check_trace=False), path)
    return path, *("--channels", 1, "--mean", 0, "--std", 1)


@pytest.mark.parametrize(
    ("command", "make"), [*((command, dropped) for command in COMMANDS), ("fool", mixed)]
)
def test_every_command_refuses_at_once_what_is_no_function_of_an_image(
    run, tmp_path, command, make
):
    model = written(make(), tmp_path / "toy.pt")
    objective = ("--objective", "cross-entropy") if command == "finetune" else ()
    ran = run(command, *model, *objective, *FEW)
    assert ran.code == 2
    line = ran.err.strip().splitlines()[-1]
    reason = "another answer each time" if make is dropped else "when other images are beside it"
    assert line.startswith("error: toy.pt gives ")
    assert reason in line
    assert not (tmp_path / "saliency-audit-report").exists()


def test_a_second_model_is_tried_too(run, tmp_path):
    model = written(mixed(), tmp_path / "toy.pt2")
    ran = run("evaluate", "--compare", model[0], "--metric", "accuracy", *FEW)
    assert ran.code == 2
    assert "toy.pt2 gives an image another answer" in ran.err


def test_probabilities_are_said_once_and_judged_as_logits_are(run, tmp_path):
    answers = {}
    for name, network in (("soft", softened()), ("plain", bundled_model())):
        maps = ("--saliency", "gradient", "--measure", "gradient", "--scalar", "log-prob")
        options = (*maps, "--steps", 4, *FEW)
        ran = run("attack", *written(network, tmp_path / f"{name}.pt2"), *options,
                  "--output-dir", name)  # fmt: skip
        assert ran.code == 0
        assert ran.err.count("returns probabilities") == (name == "soft")
        answers[name] = json.loads((tmp_path / name / "run.json").read_text("utf-8"))
    soft, plain = (answers[name]["verdicts"][0] for name in ("soft", "plain"))
    assert soft["verdict"] == plain["verdict"]
    assert soft["similarity"] == pytest.approx(plain["similarity"], abs=0.03)
    assert soft["control"] == pytest.approx(plain["control"], abs=0.03)


@pytest.mark.slow
def test_what_is_trained_returns_probabilities_as_before(run, tmp_path):
    (tmp_path / "softened.py").write_text(
        "from saliency_audit.assets import FashionMnistCnn\n"
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(FashionMnistCnn(), nn.Softmax(1))\n"
    )
    weights = tmp_path / "weights.pt"
    torch.save(softened().state_dict(), weights)
    ran = run("finetune", weights, "--arch", "softened:build", "--channels", 1, "--mean", 0,
              "--std", 1, "--objective", "gradient-norm", "--max-steps", 2, *FEW)  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.err.count("returns probabilities") == 1
    place = tmp_path / "saliency-audit-report" / "finetune"
    images = torch.rand(3, 1, 28, 28)
    network = torch.export.load(place / "model.pt2").module()
    outputs = network(images)
    assert torch.allclose(outputs.sum(1), torch.ones(3), atol=1e-5)
    about = json.loads((place / "run.json").read_text("utf-8"))
    accuracy = next(line for line in about["verdicts"] if line["check"] == "accuracy")
    assert accuracy["after"] >= accuracy["before"] - 0.2


def test_no_gradient_is_said_before_the_work(run, tmp_path):
    model = written(Then(torch.round), tmp_path / "toy.pt2")
    ran = run("evaluate", *model, "--saliency", "sobel", "--metric", "sparsity-gini", *FEW)
    assert ran.code == 0, ran.err
    line = next(line for line in ran.err.splitlines() if "no gradient" in line)
    assert "WARNING: toy.pt2: no gradient of its output reaches the image" in line


CUSTOM = """
import torch
from torch import nn
from saliency_audit.assets import FashionMnistCnn

class Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * (x.sign() + 1) / 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (ctx.saved_tensors[0] > 0)

class Bend(nn.Module):
    def forward(self, x):
        return Step.apply(x)

def build():
    network = FashionMnistCnn()
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU):
                setattr(parent, name, Bend())
    return network
"""


@pytest.mark.slow
def test_score_matching_says_that_there_is_nothing_to_match(run, tmp_path):
    (tmp_path / "custom.py").write_text(CUSTOM)
    torch.save(bundled_model().state_dict(), tmp_path / "weights.pt")
    ran = run("finetune", "weights.pt", "--arch", "custom:build", "--channels", 1, "--mean", 0,
              "--std", 1, "--objective", "score-matching", "--max-steps", 1, *FEW)  # fmt: skip
    assert ran.code == 0, ran.err
    assert "score-matching has nothing to match" in ran.err
