"""``finetune``: train gradients that can be trusted more, and see what it costs."""
