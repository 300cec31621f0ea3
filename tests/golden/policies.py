"""Policies for gate: what the README shows, and wrong ones."""

README = """\
[data]                          # as on the command line, which goes before the policy
data = "validation"
max_samples = 12

[run]
target = "predicted"
scalar = "logit"                # scalar, level and inconclusive hold for every check
inconclusive = "fail"

[[check]]                       # any metric with its options
metric = "deletion"
saliency = ["integrated-gradients", "gradcam"]
steps = 8
better_than = "random"

[[check]]                       # the release before: --baseline its summary.csv
metric = "preservation"
saliency = "gradcam"
steps = 8
no_worse_than = "baseline"
tolerance = 0.02

[[check]]                       # a verdict of fool (trick) or of attack
trick = "logit-shift"
saliency = "gradcam"
verdict = ["unmoved"]

[[check]]
attack = "topk"
saliency = "smoothgrad"
eps = "1/255"
steps = 2
verdict = ["steady", "shifted"]
level = "warn"
"""

_ACCURACY = """\
[[check]]
metric = "accuracy"
better_than = "chance"
"""

OTHERS = """\
[data]
max_samples = 9
[run]
seed = 3
inconclusive = "warn"
[[check]]
metric = "accuracy"
at_least = 0.99
[[check]]
metric = "density-profile-median"
sigma = [0.1]
at_most = 1000
[[check]]
metric = "sparsity-gini"
saliency = ["gradcam", "gradient"]
at_least = 0.5
level = "warn"
"""

QUICK = """\
[data]
max_samples = 12
[[check]]
metric = "deletion"
saliency = "gradient"
steps = 4
at_most = 0.99
"""

POLICIES = {
    "policy": README,
    "others": OTHERS,
    "quick": QUICK,
    "unknown-key": '[[check]]\nmetrc = "accuracy"\n',
    "unknown-metric": '[[check]]\nmetric = "accuracies"\nbetter_than = "chance"\n',
    "bad-value": QUICK.replace("steps = 4", "steps = 0"),
    "later-value": QUICK
    + '[[check]]\nattack = "topk"\nsaliency = "gradcam"\nk = 7000\nverdict = "steady"\n',
    "only-warns": '[run]\nlevel = "warn"\n' + _ACCURACY,
    "no-toml": "[[check]\nmetric = accuracy\n",
}
