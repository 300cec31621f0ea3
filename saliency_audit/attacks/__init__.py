"""Changes of the image: one goal or search a file, one entry in the catalogue."""

from saliency_audit.catalogue.attack_presets import PRESETS as PRESETS
from saliency_audit.catalogue.attacks import ATTACKS as ATTACKS
from saliency_audit.catalogue.attacks import EVOLUTION as EVOLUTION
from saliency_audit.catalogue.attacks import GRADIENT as GRADIENT
from saliency_audit.catalogue.attacks import SEARCHES as SEARCHES
from saliency_audit.catalogue.attacks import STEPS as STEPS
