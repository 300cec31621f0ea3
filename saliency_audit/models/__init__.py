"""Load, wrap and look inside image classifiers."""

from saliency_audit.models.classifier import Classifier as Classifier
from saliency_audit.models.device import auto_batch_size as auto_batch_size
from saliency_audit.models.device import halve_on_oom as halve_on_oom
from saliency_audit.models.device import resolve_device as resolve_device
from saliency_audit.models.gradients import differentiating as differentiating
from saliency_audit.models.gradients import gradients_at as gradients_at
from saliency_audit.models.gradients import in_batches as in_batches
from saliency_audit.models.gradients import input_gradient as input_gradient
from saliency_audit.models.layers import activations as activations
from saliency_audit.models.layers import features as features
from saliency_audit.models.layers import head as head
from saliency_audit.models.layers import layer_named as layer_named
from saliency_audit.models.load import copied as copied
from saliency_audit.models.load import load as load
from saliency_audit.models.load import reload as reload
from saliency_audit.models.save import save as save
from saliency_audit.models.save import save_state_dict as save_state_dict
from saliency_audit.models.scalars import LIKELIHOOD_SCALARS as LIKELIHOOD_SCALARS
from saliency_audit.models.scalars import SCALARS as SCALARS
from saliency_audit.models.spatial import as_spatial as as_spatial
from saliency_audit.models.spatial import last_spatial_layer as last_spatial_layer
from saliency_audit.models.surrogates import Agreement as Agreement
from saliency_audit.models.surrogates import agreement as agreement
from saliency_audit.models.surrogates import surrogate as surrogate
