"""Images and labels in, tensors out: one file per kind of source, one line in ``READERS``."""

from saliency_audit.data.annotations import Annotations as Annotations
from saliency_audit.data.annotations import own_annotations as own_annotations
from saliency_audit.data.annotations import read_annotations as read_annotations
from saliency_audit.data.batches import ImageBatch as ImageBatch
from saliency_audit.data.batches import batches as batches
from saliency_audit.data.batches import images_of as images_of
from saliency_audit.data.batches import in_order as in_order
from saliency_audit.data.dataset import Failure as Failure
from saliency_audit.data.dataset import ImageData as ImageData
from saliency_audit.data.dataset import Sample as Sample
from saliency_audit.data.dataset import held_out as held_out
from saliency_audit.data.dataset import subset as subset
from saliency_audit.data.opening import READERS as READERS
from saliency_audit.data.opening import open_data as open_data
from saliency_audit.data.opening import place_of as place_of
from saliency_audit.data.saved_maps import SavedMaps as SavedMaps
from saliency_audit.data.saved_maps import saved_maps as saved_maps
from saliency_audit.data.tensors import from_tensors as from_tensors
