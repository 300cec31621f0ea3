"""Changes of the image: one goal or search a file, one line here."""

from saliency_audit.attacks.descend import descend
from saliency_audit.attacks.mass_center import mass_center
from saliency_audit.attacks.pgd import pgd
from saliency_audit.attacks.presets import PRESETS as PRESETS
from saliency_audit.attacks.random import random
from saliency_audit.attacks.structured import structured
from saliency_audit.attacks.target_region import target_region
from saliency_audit.attacks.topk import topk, topk_shared
from saliency_audit.types import Attack, Goal

ATTACKS: dict[str, Attack] = {
    "topk": Attack(
        descend,
        "take the map's mass out of its most salient pixels",
        "Ghorbani et al. 2019; P2 S2.2",
        Goal(topk, criterion=topk_shared, floor=0.0),
    ),
    "mass-center": Attack(
        descend,
        "move the map's centre of mass",
        "Ghorbani et al. 2019",
        Goal(mass_center),
        options={"random_step": True},
    ),
    "target-region": Attack(
        descend,
        "bring the map's mass into a region, the least salient quarter unless a picture is given",
        "Ghorbani et al. 2019",
        Goal(target_region, wants="region"),
    ),
    "structured": Attack(
        descend,
        "make the map look like that of another image, or like a picture",
        "Dombrowski et al. 2019; P2 S2.2",
        Goal(structured, wants="map"),
        options={"rule": "adam", "steps": 100, "beta_growth": True, "keep_prediction": True},
        budgeted=False,
    ),
    "pgd": Attack(pgd, "change the predicted class", "Madry et al. 2018; P2 S2.2, P3 2.1, P4"),
    "random": Attack(random, "noise of the same size: the control", "ours"),
}
STEPS = 20
"""Of attacks that do not say."""
