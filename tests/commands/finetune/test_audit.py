"""Training that is stopped: what is kept, and how it ends."""

from itertools import chain, repeat

import pytest
import torch
from torch import nn

from saliency_audit.commands.finetune.audit import CHECKPOINT, finetune
from saliency_audit.data import from_tensors
from saliency_audit.models import Classifier
from saliency_audit.training import Recipe
from saliency_audit.training.checkpoint import read_checkpoint
from saliency_audit.training.loop import accelerator


def test_stopped_in_the_last_measurement_it_keeps_all_steps_and_says_so(tmp_path):
    torch.manual_seed(0)
    model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), input_shape=(1, 2, 2))
    data = from_tensors(torch.rand(8, 1, 2, 2), torch.arange(8) % 2)
    # Asked after each of two steps, and once more after the accuracy.
    asked = chain([False, False], repeat(True))
    training = finetune(
        model, data, data, objective="cross-entropy", folder=tmp_path,
        recipe=Recipe(epochs=1, batch_size=4), together=accelerator(torch.device("cpu")),
        stopping=lambda: next(asked),
    )  # fmt: skip
    assert [next(training).step, next(training).step] == [1, 2]
    with pytest.raises(KeyboardInterrupt):
        next(training)
    state = read_checkpoint(tmp_path / CHECKPOINT)
    assert state["step"] == 2
    for name, weight in model.network.state_dict().items():
        assert torch.equal(state["state_dict"][name], weight)
