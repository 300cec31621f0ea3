"""The model that ``finetune`` trains, and what is tried on all models before it does."""

from typing import TYPE_CHECKING

from saliency_audit.commands.finetune.plan import Plan
from saliency_audit.commands.setup import Setup
from saliency_audit.errors import InputError
from saliency_audit.options import Given

if TYPE_CHECKING:
    from saliency_audit.models import Classifier


def to_train(setup: Setup, given: Given, plan: Plan) -> "Classifier":
    """The classifier that is trained: a copy, or one with random weights.

    Raises:
        InputError: it cannot have the activation that was asked for.
    """
    from saliency_audit.models import copied, reinitialised

    as_given = setup.model
    if given.from_scratch:
        model = as_given if given.model is None and given.arch else None
        if model is None:
            model = reinitialised(as_given, seed=given.seed)
            for note in model.notes:
                setup.tell(note)
    else:
        model = as_given.replaced(copied(as_given))
    if model.activation is not None:
        kind, beta = model.activation
        if plan.surrogate == "none" or (plan.beta_given and plan.beta != beta):
            raise InputError(
                f"{as_given.name} runs {kind} (beta {beta:g}) as its file says, and is trained so; "
                "leave --surrogate and --beta"
            )
        return model
    wanted = plan.surrogate == "softplus" or (plan.surrogate == "auto" and plan.objective.smooth)
    kinds = _replaceable(model) if wanted or plan.objective.smooth else []
    if plan.surrogate == "softplus" and not kinds:
        raise InputError(
            f"{as_given.name} has no ReLU or the like for --surrogate softplus to replace; leave it"
        )
    if wanted and kinds:
        model.activation = ("softplus", plan.beta)
        setup.tell(
            f"softplus (beta {plan.beta:g}) takes the place of ReLU and its kin, in training and "
            "in the model that is written"
        )
    elif plan.beta_given:
        raise InputError(f"--beta is {plan.beta:g}, but no softplus is trained; leave it")
    elif kinds:
        setup.tell(
            f"WARNING: second derivatives of a network of {' and '.join(kinds)} are 0 almost "
            "everywhere, so its trace says nothing; leave --surrogate none"
        )
        return model
    if plan.objective.smooth and not _curved(model, setup):
        setup.tell(
            f"WARNING: the logits of {as_given.name} are made of linear pieces in whose place no "
            f"softplus could be put: their second derivatives are 0, and {plan.name} has nothing "
            "to match"
        )
    return model


def under_activation(before: "Classifier", model: "Classifier") -> "Classifier | None":
    """The model before, untrained, with the activation that is trained; None where it has that."""
    if model.activation is None or before.activation == model.activation:
        return None
    name = f"{before.name} with {model.activation[0]}"
    return before.replaced(before.network, name=name, activation=model.activation)


def _curved(model: "Classifier", setup: Setup) -> bool:
    """Whether second derivatives of the model's logits can be taken on the first images."""
    import torch

    from saliency_audit.commands.known import first_images
    from saliency_audit.models import follows

    images, _, _ = first_images(setup.data, 2, 2, device=model.mean.device, workers=0)
    with model.audited():
        with torch.no_grad():
            classes = model(images).argmax(1)
        return follows(model, images, classes, smooth=None)


def _replaceable(model: "Classifier") -> list[str]:
    """Activations of the model that a surrogate replaces, by name."""
    import torch

    from saliency_audit.models import surrogate

    grey = torch.full((1, *model.input_shape), 0.5, device=model.mean.device)
    with model.audited(), torch.no_grad(), surrogate(model, "softplus", beta=1.0) as context:
        model(grey)
    return sorted(context.replaced)


def try_audit(given: Given, setup: Setup, model: "Classifier", beside: "list[Classifier]") -> None:
    """Try on one grey image what will be asked of the models once hours of training are over.

    Raises:
        InputError: a method that the model does not allow, or models of different classes.
    """
    import torch

    from saliency_audit.commands.explain import supported

    grey = torch.full((1, *model.input_shape), 0.5, device=model.mean.device)
    for other in beside:
        with other.audited():
            outputs = other.check(grey)
        if outputs != setup.classes:
            raise InputError(
                f"{other.name} has {outputs} outputs and {model.name} has {setup.classes}; models "
                "in one run must know the same classes"
            )
    with model.audited():
        supported(
            list(given.saliency or ("gradient",)),
            model=model,
            images=grey,
            targets=torch.zeros(1, dtype=torch.long, device=grey.device),
            scalar=given.scalar,
            options={},
            tell=lambda line: None,
            refuse=True,
        )
