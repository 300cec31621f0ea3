from dataclasses import replace

import pytest

from saliency_audit.commands.gate import policy as policies
from saliency_audit.commands.gate.policy_values import MIN_IMAGES


@pytest.fixture(autouse=True)
def _few_images_will_do(request, monkeypatch):
    """Tests take few images; those of the rule itself do not ask for this."""
    if "as_released" not in request.keywords:
        monkeypatch.setattr(policies, "MIN_IMAGES", replace(MIN_IMAGES, default=2))
