"""Which images are trained on and which are validated on, and that it is said."""

from types import SimpleNamespace

import pytest

from saliency_audit.commands.finetune.data import open_training, validation_of
from saliency_audit.data import open_data
from tests.data.test_idx import write


@pytest.mark.parametrize(
    ("said", "val", "trained", "validated", "count"),
    [
        ("", None, "train", "test", 6),
        ("@train", None, "train", "test", 6),
        ("@test", None, "test", "test", 5),
        ("", "@train", "train", "train", 6),
        ("@test", "", "test", "test", 6),
    ],
)
def test_a_set_of_two_trains_on_its_training_images(tmp_path, said, val, trained, validated, count):
    for prefix in ("train", "t10k"):
        write(tmp_path, prefix=prefix)
    data = f"mnist:{tmp_path}{said}"
    val = None if val is None else f"mnist:{tmp_path}{val}"
    told: list[str] = []
    setup = SimpleNamespace(
        model=SimpleNamespace(input_shape=(1, 28, 28), resize=None, name="net"),
        data=open_data(validation_of(data, val), input_shape=(1, 28, 28)),
        classes=10,
        tell=told.append,
    )
    limits = {"classes": None, "resize": None, "max_train": None, "max_val": None, "seed": 0}
    train, validation = open_training(setup, data=data, val=val, **limits)
    assert (train.name, validation.name) == (f"mnist ({trained})", f"mnist ({validated})")
    assert len(train) == count
    assert {name.split("/")[0] for name in train.names} == {trained}
    line = f"training on {count} images of {train.name}, validating on {len(validation)} of "
    assert told[-1] == line + validation.name
    if val is None:
        assert not set(train.names) & set(validation.names)
