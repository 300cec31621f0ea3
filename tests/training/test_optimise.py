import math

import pytest
import torch
from torch import nn

from saliency_audit.errors import InputError
from saliency_audit.training.optimise import optimizer, schedule


def weight(value: float = 1.0) -> nn.Parameter:
    return nn.Parameter(torch.tensor([value], dtype=torch.float64))


def moved(name: str, gradients: list[float], **options: float) -> float:
    w = weight()
    optim = optimizer([w], name=name, **options)
    for gradient in gradients:
        w.grad = torch.tensor([gradient], dtype=torch.float64)
        optim.step()
    return w.item()


def test_sgd_has_momentum_and_decay():
    w, velocity = 1.0, 0.0
    for gradient in (2.0, -1.0, 0.5):
        velocity = 0.8 * velocity + gradient + 0.1 * w
        w -= 0.05 * velocity
    found = moved("sgd", [2.0, -1.0, 0.5], lr=0.05, momentum=0.8, weight_decay=0.1)
    assert found == pytest.approx(w, rel=1e-12)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_adds_decay_to_the_gradient_and_adamw_does_not(name):
    lr, decay, (b1, b2) = 0.05, 0.1, (0.7, 0.95)
    w, first, second = 1.0, 0.0, 0.0
    for step, gradient in enumerate((2.0, -1.0, 0.5), start=1):
        if name == "adamw":
            w *= 1 - lr * decay
        else:
            gradient += decay * w
        first = b1 * first + (1 - b1) * gradient
        second = b2 * second + (1 - b2) * gradient**2
        w -= lr * first / (1 - b1**step) / (math.sqrt(second / (1 - b2**step)) + 1e-8)
    options = {"lr": lr, "weight_decay": decay, "betas": (b1, b2)}
    assert moved(name, [2.0, -1.0, 0.5], **options) == pytest.approx(w, rel=1e-9)
    # Momentum is for sgd.
    assert moved(name, [2.0, -1.0, 0.5], momentum=0.5, **options) == pytest.approx(w, rel=1e-9)


def rates(name: str, steps: int, **options: object) -> list[float]:
    optim = optimizer([weight()], name="sgd", lr=0.2)
    plan = schedule(optim, name=name, steps=steps, **options)
    seen = []
    for _ in range(steps + 2):
        seen.append(optim.param_groups[0]["lr"])
        optim.step()
        plan.step()
    return seen


def test_rates_of_each_step():
    assert rates("constant", 5) == [0.2] * 7
    assert rates("cosine", 4) == pytest.approx(
        [0.2, 0.1 * (1 + math.sqrt(0.5)), 0.1, 0.1 * (1 - math.sqrt(0.5)), 0, 0], abs=1e-15
    )
    assert rates("step", 8) == pytest.approx([0.2] * 4 + [0.02] * 2 + [0.002] * 4)
    # P0: 200 epochs of 391 steps, x0.1 at 100 and at 150.
    factors = rates("step", 200 * 391)
    for epoch, rate in ((100, 0.02), (150, 0.002)):
        assert factors[epoch * 391] == pytest.approx(rate)
        assert factors[epoch * 391 - 1] == pytest.approx(10 * rate)
    # In floating point 0.07 x 100 is more than 7.
    assert rates("step", 100, milestones=(0.07,), gamma=0.5)[6:8] == pytest.approx([0.2, 0.1])


@pytest.mark.parametrize("name", ["constant", "cosine", "step"])
@pytest.mark.parametrize("at", [0, 1, 5, 6, 9])
def test_a_resumed_schedule_has_the_same_rates(name, at):
    whole = rates(name, 10)
    optim = optimizer([weight()], name="sgd", lr=0.2)
    plan = schedule(optim, name=name, steps=10)
    for _ in range(at):
        optim.step()
        plan.step()
    kept = {"optimizer": optim.state_dict(), "schedule": plan.state_dict()}

    again = optimizer([weight()], name="sgd", lr=0.2)
    resumed = schedule(again, name=name, steps=10)
    again.load_state_dict(kept["optimizer"])
    resumed.load_state_dict(kept["schedule"])
    seen = []
    for _ in range(at, len(whole)):
        seen.append(again.param_groups[0]["lr"])
        again.step()
        resumed.step()
    assert seen == whole[at:]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lr": 0.0}, "--lr is 0;"),
        ({"lr": -1.0}, "--lr is -1;"),
        ({"lr": math.nan}, "--lr is nan;"),
        ({"lr": math.inf}, "--lr is inf;"),
        ({"name": "adamm"}, "Did you mean 'adamw'|Did you mean 'adam'"),
        ({"momentum": 1.0}, "--momentum is 1;"),
        ({"momentum": math.nan}, "--momentum is nan;"),
        ({"weight_decay": -1e-4}, "--weight-decay is -0.0001;"),
        ({"weight_decay": math.nan}, "--weight-decay is nan;"),
        ({"name": "adam", "betas": (0.9, 1.0)}, "betas are"),
    ],
)
def test_numbers_that_mean_nothing_are_one_line(options, words):
    with pytest.raises(InputError, match=words) as refused:
        optimizer([weight()], **({"name": "sgd", "lr": 0.1} | options))
    assert "\n" not in str(refused.value)


def test_unknown_schedules_and_no_steps_are_refused():
    optim = optimizer([weight()], name="sgd", lr=0.1)
    with pytest.raises(InputError, match=r"unknown schedule 'cosin'\. Did you mean 'cosine'"):
        schedule(optim, name="cosin", steps=5)
    with pytest.raises(InputError, match="0 steps to train; give --epochs"):
        schedule(optim, name="cosine", steps=0)
