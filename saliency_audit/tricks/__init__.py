"""Model manipulations that keep every prediction: one a file, one entry in the catalogue."""

from saliency_audit.catalogue.tricks import TRICKS as TRICKS
