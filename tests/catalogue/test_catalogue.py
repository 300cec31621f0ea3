"""What is declared of a capability is what its function takes."""

import re
from inspect import signature
from typing import Literal, get_args, get_origin, get_type_hints

import pytest

from saliency_audit.catalogue.attack_presets import PRESETS as ATTACK_PRESETS
from saliency_audit.catalogue.attacks import ATTACKS, CROSS_CHECK, SEARCHES, TARGET_MAP
from saliency_audit.catalogue.entries import function_of
from saliency_audit.catalogue.methods import CONTROLS, METHODS
from saliency_audit.catalogue.metric_presets import PRESETS as METRIC_PRESETS
from saliency_audit.catalogue.metrics import CHECKS, FILL, METRICS
from saliency_audit.catalogue.objectives import OBJECTIVES
from saliency_audit.catalogue.training_presets import PRESETS as TRAINING_PRESETS
from saliency_audit.catalogue.tricks import TRICKS
from saliency_audit.cli.typed import typed
from saliency_audit.commands.evaluate.options import OPTIONS as OF_EVALUATE
from saliency_audit.commands.life import Entry
from saliency_audit.commands.options import given_to, options_of
from saliency_audit.errors import InputError
from saliency_audit.metrics.fill import fill_name
from saliency_audit.options import Given, Option

OF_METHODS = {"scalar", "graph", "generators", "batch_size", "layer"}
"""What every method takes, and what the model says."""
OF_ATTACKS = {"eps", "norm", "generators", "tick", "random_step", "keep_prediction"}
OF_ATTACKS |= {"restore_class", "steps", "step_size", "batch_size", "decay"}
"""What an attack is given by the budget, by its entry, or may take without offering it."""
NOUNS = {
    "method": (METHODS, OF_METHODS),
    "metric": (METRICS, set()),
    "trick": (TRICKS, {"strength", "batch_size", "fit"}),
    "objective": (OBJECTIVES, set()),
    "attack": (ATTACKS, OF_ATTACKS),
    "search": (SEARCHES, OF_ATTACKS | {"rule"}),
}
BESIDE = {TARGET_MAP, CROSS_CHECK, *SEARCHES["evolution"].options}
"""Options of an attack that are not of the search that it is declared with."""
ENTRIES = [
    pytest.param(entry, given, id=f"{noun} {name}")
    for noun, (entries, given) in NOUNS.items()
    for name, entry in entries.items()
]


def keywords(function):
    return {n: p for n, p in signature(function).parameters.items() if p.kind is p.KEYWORD_ONLY}


@pytest.mark.parametrize(("entry", "given"), ENTRIES)
def test_every_option_is_a_parameter_and_the_other_way_round(entry, given):
    function = set(keywords(entry.function))
    beside = {option.key for option in BESIDE} - function if entry in ATTACKS.values() else set()
    keys = {option.key for option in entry.options} - beside
    assert keys - given == function - given
    assert keys <= function


@pytest.mark.parametrize(("entry", "given"), ENTRIES)
def test_an_option_that_tells_a_default_tells_that_of_the_function(entry, given):
    for option in entry.options:
        if option.default is not None:
            assert option.default == keywords(entry.function)[option.key].default


def test_a_default_in_words_is_that_of_a_function_that_takes_the_option():
    compared = 0
    for entries, _ in NOUNS.values():
        for option in options_of(entries):
            told = re.search(r"Default: ([\w.-]+?)[.,]?(?: and (\w[\w.]*)\.)?$", option.help)
            takers = [keywords(e.function) for e in entries.values() if option in e.options]
            defaults = {p[option.key].default for p in takers if option.key in p}
            for word in filter(None, told.groups() if told else ()):
                if re.fullmatch(r"[\d.e-]+", word) and defaults - {None}:
                    assert float(word) in defaults, option.name
                    compared += 1
    assert compared > 20


@pytest.mark.parametrize(("entry", "given"), ENTRIES)
def test_choices_are_those_of_the_function(entry, given):
    hints = get_type_hints(entry.function)
    for option in entry.options:
        kinds = [hints.get(option.key), *get_args(hints.get(option.key))]
        literal = next((kind for kind in kinds if get_origin(kind) is Literal), None)
        if option.choices and literal:
            assert set(get_args(literal)) <= set(option.choices)


def test_a_trick_says_what_it_promises_for_each_of_its_options():
    for name, trick in TRICKS.items():
        function = function_of(trick.variant)
        assert set(keywords(function)) == {option.key for option in trick.options}
        for key, parameter in keywords(function).items():
            assert parameter.default == keywords(trick.function)[key].default
        made = [
            trick.with_options({option.key: choice})
            for option in trick.options
            for choice in option.choices
        ]
        assert all(variant.setting.startswith(f"trick={name}") for variant in made)
        assert {variant.edits for variant in made} == {
            *([] if trick.trains else [""]),
            *trick.edits,
        }
        kept = {"accuracy-drop"} if trick.trains else {"prediction-kept", "prob-change"}
        assert all(kept <= set(variant.promises) for variant in made)


def test_presets_name_what_there_is():
    for preset in ATTACK_PRESETS.values():
        assert set(preset.attacks) <= set(ATTACKS)
        assert set(preset.saliency or ()) <= set(METHODS)
    for preset in METRIC_PRESETS.values():
        for name, options in preset.options.items():
            assert set(options) <= {option.key for option in METRICS[name].options}
        known = METHODS[preset.saliency].options if preset.saliency else ()
        assert set(preset.methods) <= {option.key for option in known}
    for preset in TRAINING_PRESETS.values():
        known = {option.key for option in OBJECTIVES[preset.objective].options}
        assert set(preset.options) <= known


def test_an_option_is_repeatable_where_one_of_those_who_take_it_takes_several():
    (sigma,) = (option for option in options_of(METRICS) if option.name == "sigma")
    assert sigma.many
    takers = {name: METRICS[name].options for name in ("density-profile", "infidelity")}
    given = Given(sigma=[0.1, 0.2], perturbations=None)
    assert given_to(takers["density-profile"], given) == {"sigmas": (0.1, 0.2)}
    with pytest.raises(InputError, match="infidelity takes one --sigma, and 2 are given"):
        given_to(takers["infidelity"], given, of="infidelity")


def test_options_of_one_name_in_a_catalogue_are_one_option():
    for entries, _ in NOUNS.values():
        by_name = {}
        for entry in entries.values():
            for option in entry.options:
                first = by_name.setdefault(option.name, option)
                assert (option.kind, option.range, option.choices, option.help) == (
                    *(first.kind, first.range, first.choices, first.help),
                )


def test_two_options_of_one_name_in_a_command_are_named():
    from saliency_audit.cli import console

    double = Option("samples", help="Of something else.")
    entry = Entry("evaluate", [*OF_EVALUATE, double], "", lambda given, screen: 0)
    with pytest.raises(TypeError, match=r"evaluate are called --samples: .Noisy copies of .*else"):
        typed(entry, console)


def test_fills_are_those_that_can_be_painted():
    for word in FILL.choices:
        assert fill_name(word) == word
    with pytest.raises(InputError, match=", ".join(FILL.choices)):
        fill_name("red")


def test_what_is_compared_with():
    assert set(CONTROLS) == {"random", "sobel"}
    for attack in ATTACKS.values():
        assert attack.sentence.endswith(".")
        assert attack.aim in {"", *CHECKS}
