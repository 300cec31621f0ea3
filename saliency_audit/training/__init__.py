"""Objectives, and the loop that trains for them."""

from saliency_audit.catalogue.objectives import OBJECTIVES as OBJECTIVES
from saliency_audit.training.loop import ByName as ByName
from saliency_audit.training.loop import Trained as Trained
from saliency_audit.training.recipe import Recipe as Recipe
from saliency_audit.training.step import Loss as Loss
from saliency_audit.training.step import Step as Step
