"""How the masking network of rt-sal is trained, or where it is taken from."""

from collections.abc import Mapping
from dataclasses import dataclass

from saliency_audit.catalogue.methods import MAPS
from saliency_audit.options import Option
from saliency_audit.ranges import COUNT


@dataclass(frozen=True, kw_only=True)
class Course:
    """Numbers of a training of a masking network.

    Attributes:
        width: channels of the finest stage of the decoder.
        selector_steps: of the first phase, in which the class selector learns.
        selector_batch: images of each.
        selector_fakes: share of them that are asked for a class they do not show.
        selector_falls: steps after which its learning rate is divided by 10, each time.
        decoder_steps: of the second phase, in which the decoder learns.
        decoder_batch: images of each.
        decoder_fakes: share of them that are asked for a class they do not show.
        decoder_falls: steps after which its learning rate is divided by 10, each time.
        area: weight of the area of a mask.
        area_power: of its pixels in that.
        lr: of Adam, in both.
        weight_decay: in both.
    """

    width: int
    selector_steps: int
    selector_batch: int
    selector_fakes: float = 0.5
    selector_falls: int
    decoder_steps: int
    decoder_batch: int
    decoder_fakes: float = 0.3
    decoder_falls: int
    area: float
    area_power: float
    lr: float = 1e-3
    weight_decay: float = 1e-4


COURSES: Mapping[str, Course] = {
    "short": Course(
        width=16,
        selector_steps=400,
        selector_batch=64,
        selector_falls=300,
        decoder_steps=400,
        decoder_batch=32,
        decoder_falls=300,
        area=4.0,
        area_power=1.0,
        lr=2e-3,
    ),
    "paper": Course(
        width=64,
        selector_steps=8500,
        selector_batch=128,
        selector_falls=4000,
        decoder_steps=3000,
        decoder_batch=64,
        decoder_falls=3000,
        area=8.0,
        area_power=0.3,
    ),
}
"""By name. "paper" has the numbers of the authors' code for ImageNet, "short" takes two CPU minutes
on the bundled network.

The area is weighed as the paper has it, by its mean, in "short", but by 4: at the paper's 0.001 the
masks of the bundled network hold 84 % of an image, since all of it keeps the class and what is left
has none. The authors' code takes a power below 1, whose slope at 0 is steep: within so few steps
some masks vanish for good."""

MASKER = Option(
    "masker",
    "path",
    panel=MAPS,
    help="rt-sal: its trained network, masker.safetensors of an earlier run's folder.",
)
MASKER_PRESET = Option(
    "masker_preset",
    choices=tuple(COURSES),
    panel=MAPS,
    shown=False,
    help="rt-sal: numbers of the training of its network: short, minutes of a CPU, or paper. "
    "Default: short.",
)
SELECTOR_STEPS = Option(
    "selector_steps",
    "whole",
    range=COUNT,
    panel=MAPS,
    help="rt-sal: steps of the first phase, in place of the preset's.",
)
DECODER_STEPS = Option(
    "decoder_steps",
    "whole",
    range=COUNT,
    panel=MAPS,
    help="rt-sal: steps of the second phase, in place of the preset's.",
)
