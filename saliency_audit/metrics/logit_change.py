"""How far the logits moved."""

from torch import Tensor


def logit_change(logits: Tensor, reference: Tensor) -> Tensor:
    """Largest absolute change of a logit: |g(x)| of a shift.

    A shift costs the fp32 softmax precision: probabilities deviate by about 1e-6 at 1e2 and by
    1e-5 at 1e3.

    Args:
        logits: ``(n, classes)``. Classes that ``reference`` does not have are left out.
        reference: ``(n, classes)``.

    Returns:
        ``(n,)`` float64, >= 0.

    >>> import torch
    >>> logit_change(torch.tensor([[7.0, 8.0]]), torch.tensor([[0.0, 0.0]]))
    tensor([8.], dtype=torch.float64)
    """
    return (logits[:, : reference.shape[1]].double() - reference.double()).abs().amax(1)
