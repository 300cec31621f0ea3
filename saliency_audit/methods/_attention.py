"""Attention written out, so that rules see the products and the softmax that it is made of."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """``scaled_dot_product_attention`` of a network that does not train."""
    del dropout_p
    if enable_gqa:
        key, value = (
            part.repeat_interleave(query.shape[-3] // part.shape[-3], -3) for part in (key, value)
        )
    scores = query.matmul(key.transpose(-2, -1)) * (scale or query.shape[-1] ** -0.5)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    return torch.matmul(_masked(scores, attn_mask).softmax(-1), value)


def _masked(scores: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return scores
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~mask, -torch.inf)
    return scores + mask


def heads(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    *,
    attn_mask: Tensor | None = None,
    need_weights: bool = True,
    **others: Any,
) -> tuple[Tensor, Tensor | None] | None:
    """``multi_head_attention_forward`` of ``(tokens, n, width)``; None for what it cannot do."""
    unusual = (bias_k, bias_v, others.get("key_padding_mask"), others.get("static_k"))
    if in_proj_weight is None or add_zero_attn or any(x is not None for x in unusual):
        return None
    if query.ndim != 3 or need_weights:
        return None
    biases = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
    q, k, v = (
        F.linear(part, weight, bias).view(*part.shape[:2], num_heads, -1).permute(1, 2, 0, 3)
        for part, weight, bias in zip(
            (query, key, value), in_proj_weight.chunk(3), biases, strict=True
        )
    )
    mixed = attention(q, k, v, attn_mask)
    joined = mixed.permute(2, 0, 1, 3).flatten(2)
    return F.linear(joined, out_proj_weight, out_proj_bias), None
