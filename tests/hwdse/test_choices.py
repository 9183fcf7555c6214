from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import spaces

from hwdse.choices import Choices
from hwdse.errors import UnknownName, UsageError
from hwdse.formats import Allocation, LayerFormat, grid
from hwdse.graph import Layer, LayerGraph
from hwdse.testing import everything, small_graph

W4, W8 = LayerFormat.of(4, 8), LayerFormat.of(8, 8)


def space(count: int = 3, **rest) -> Choices:  # type: ignore[no-untyped-def]
    names = tuple("abcdef"[:count])
    options = grid([2, 4, 8], [4, 8])
    return Choices(names, options, np.ones((count, len(options)), bool), **rest)


def test_defaults_of_a_traced_model() -> None:
    choices = Choices.of(small_graph())
    assert choices.layers == ("stem", "body", "skip", "head")
    assert choices.pinned == ("stem", "head")
    assert len(choices.options) == 49
    assert choices.activation_ties == (("body", "skip"),)
    assert choices.uniform(LayerFormat.of(4, 4)) == {
        "stem": W8, "body": LayerFormat.of(4, 4), "skip": LayerFormat.of(4, 4), "head": W8,
    }  # fmt: skip


def test_pins_win_over_the_ends_and_free_ends_are_free() -> None:
    pinned = Choices.of(small_graph(), pins={"stem": LayerFormat.of(3, 3)}, weights=[4], activations=[4, 8])
    assert pinned.uniform(LayerFormat.of(4, 4))["stem"] == LayerFormat.of(3, 3)
    free = Choices.of(small_graph(), ends=None, tied=False)
    assert free.pinned == ()
    assert free.activation_ties == ()


def test_a_pin_outside_the_grid_is_open_to_that_layer_only() -> None:
    choices = Choices.of(small_graph(), weights=[4], activations=[4], pins={"body": LayerFormat.of(16, 4)}, ends=None)
    column = choices.column[LayerFormat.of(16, 4)]
    assert choices.allowed[:, column].tolist() == [False, True, False, False]


def test_embeddings_hold_the_widest_activation() -> None:
    layer = Layer("embed", "embedding", 0, (1, 4), (1, 4, 8), "w", (10, 8), 0, "embed")
    graph = LayerGraph((layer,), {}, (), (), ())
    choices = Choices.of(graph, [4, 8], [4, 8], ends=None)
    assert [str(o) for o, ok in zip(choices.options, choices.allowed[0], strict=True) if ok] == ["w4a8", "w8a8"]


def test_a_tie_takes_out_what_the_partner_cannot_match() -> None:
    choices = space(3, weight_ties=(("a", "b"),), activation_ties=(("b", "c"),)).pin({"a": LayerFormat.of(4, 4)})
    assert {o.weight.bits for o, ok in zip(choices.options, choices.allowed[1], strict=True) if ok} == {4}
    assert choices.allowed[2].all()
    both = choices.pin({"b": LayerFormat.of(4, 8)})
    assert {o.activation.bits for o, ok in zip(both.options, both.allowed[2], strict=True) if ok} == {8}


def test_propagation_runs_through_chains_of_ties() -> None:
    ties = (("a", "b"), ("b", "c"), ("c", "d"))
    choices = space(4, weight_ties=ties).pin({"d": LayerFormat.of(2, 8)})
    assert all(choices.weight_bits[row].tolist() == [2, 2] for row in choices.allowed[:3])


def test_pins_that_contradict_a_tie() -> None:
    with pytest.raises(UsageError, match=r"layer 'a' has no width left that its pins, the accelerator and the layers tied"):
        space(2, weight_ties=(("a", "b"),)).pin({"a": W4, "b": W8})


def test_no_layers_no_options_wrong_shape_and_names_twice() -> None:
    with pytest.raises(UsageError, match="there must be at least one layer to quantise"):
        Choices((), (W4,), np.ones((0, 1), bool))
    with pytest.raises(UsageError, match="there must be at least one layer to quantise"):
        Choices.of(LayerGraph((), {}, (), (), ()))
    with pytest.raises(UsageError, match=r"allowed must have shape \(1, 1\), got \(1, 2\)"):
        Choices(("a",), (W4,), np.ones((1, 2), bool))
    with pytest.raises(UsageError, match="layer 'a' has no width left"):
        Choices(("a",), (W4,), np.zeros((1, 1), bool))
    with pytest.raises(UsageError, match="each layer must be named once; got a more than once"):
        Choices(("a", "a"), (W4,), np.ones((2, 1), bool))
    with pytest.raises(UsageError, match="each option must be named once; got w4a8 more than once"):
        Choices(("a",), (W4, W4), np.ones((1, 2), bool))
    with pytest.raises(UsageError, match="layer 'b' has no allowed option"):
        Choices(("a", "b"), (W4,), np.array([[True], [False]]), (("a", "b"),))


def test_unknown_layers_are_named() -> None:
    with pytest.raises(UnknownName, match="unknown layer in a tie 'z'"):
        space(2, weight_ties=(("a", "z"),))
    with pytest.raises(UnknownName, match="unknown layer to pin 'bodi'; did you mean 'body'"):
        Choices.of(small_graph(), pins={"bodi": W4})
    with pytest.raises(UnknownName, match="unknown layer to pin 'z'"):
        space(2).pin({"z": W4})


def test_the_mask_cannot_be_changed_from_outside() -> None:
    allowed = np.ones((1, 2), bool)
    choices = Choices(("a",), (W4, W8), allowed)
    allowed[:] = False
    assert choices.allowed.all()
    with pytest.raises(ValueError, match="read-only"):
        choices.allowed[0, 0] = False


@given(spaces(), st.integers(0, 1000))
def test_indices_and_allocation_are_inverse(choices: Choices, seed: int) -> None:
    every = everything(choices)
    chosen = every[seed % len(every)]
    allocation = choices.allocation(chosen)
    assert list(allocation) == list(choices.layers)
    np.testing.assert_array_equal(choices.indices(allocation), chosen)
    np.testing.assert_array_equal(choices.indices(dict(reversed(list(allocation.items())))), chosen)


@given(spaces(max_layers=4))
@settings(suppress_health_check=list(HealthCheck), deadline=None)
def test_permits_against_a_plain_loop_and_propagation_loses_nothing(choices: Choices) -> None:
    """Every allocation that holds pins and ties survives propagation, and every option left occurs in one where ties are trees."""
    count, options = choices.allowed.shape
    every = np.array(np.meshgrid(*[range(options)] * count)).reshape(count, -1).T[:3000]
    for chosen, good in zip(every, choices.permits(every), strict=True):
        widths = choices.allocation(chosen)
        plain = all(choices.allowed[i, j] for i, j in enumerate(chosen))
        plain &= all(len({widths[n].weight for n in tie}) == 1 for tie in choices.weight_ties)
        plain &= all(len({widths[n].activation for n in tie}) == 1 for tie in choices.activation_ties)
        assert plain == good


def test_indices_of_something_else() -> None:
    choices = space(2)
    with pytest.raises(UsageError, match=r"each of the 2 layers and to no other; it lacks b\."):
        choices.indices({"a": W4})
    with pytest.raises(UsageError, match=r"it names z, which the model lacks"):
        choices.indices({"a": W4, "b": W4, "z": W4})
    with pytest.raises(UsageError, match="widths w5a8 are not among the options: w2a4, w2a8"):
        choices.indices({"a": W4, "b": LayerFormat.of(5, 8)})


def test_uniform_keeps_pins_and_refuses_what_is_not_allowed() -> None:
    choices = space(3).pin({"c": W8})
    assert choices.uniform(W4) == Allocation({"a": W4, "b": W4, "c": W8})
    with pytest.raises(UsageError, match="w5a5 is not allowed for layer 'a'; allowed there: w2a4"):
        choices.uniform(LayerFormat.of(5, 5))
    mask = np.ones_like(choices.allowed)
    mask[1, choices.column[W4]] = False
    with pytest.raises(UsageError, match="w4a8 is not allowed for layer 'b'"):
        choices.restrict(mask).uniform(W4)


def test_uniform_is_the_nearest_that_a_tie_with_a_pinned_layer_allows() -> None:
    tied = space(3, weight_ties=(("a", "b"),)).pin({"b": W8})
    assert tied.uniform(W4) == Allocation({"a": W8, "b": W8, "c": W4})
    assert tied.uniform_note(W4) == "w4a8 is w8a8 for a: pins and ties allow nothing nearer there"
    assert tied.uniform_note(W8) == ""


@pytest.mark.parametrize("seed", range(40))
def test_uniform_against_every_allocation(seed: int) -> None:
    """No permitted allocation has fewer layers at other widths, and ties always hold."""
    rng = np.random.default_rng(seed)
    options = grid((2, 4, 8), (2, 4, 8))
    names = tuple("abcd")
    weight, activation = (tuple(names[i] for i in sorted(rng.choice(4, 2, replace=False).tolist())) for _ in range(2))
    free = Choices(names, options, np.ones((4, 9), bool), (weight,), (activation,))
    pinned = free.pin({names[int(rng.integers(4))]: options[int(rng.integers(9))]})
    widths = options[int(rng.integers(9))]
    found = pinned.indices(pinned.uniform(widths))
    every = np.array(list(itertools.product(range(9), repeat=4)))
    every = every[pinned.permits(every)]
    assert pinned.permits(found)[0]
    assert (found != pinned.column[widths]).sum() == (every != pinned.column[widths]).sum(axis=1).min()


def test_restricting_is_an_and_and_leaves_the_original() -> None:
    choices = space(2)
    mask = np.zeros_like(choices.allowed)
    mask[:, 2] = True
    fewer = choices.restrict(mask)
    assert fewer.allowed.sum() == 2
    assert choices.allowed.all()
    with pytest.raises(UsageError, match="has no width left"):
        fewer.restrict(~mask)


def test_at_least_takes_the_narrowest_that_suffices() -> None:
    choices = space(3)
    found = choices.at_least(np.array([3, 2, 9]), np.array([4, 5, 9]))
    assert [str(choices.options[j]) for j in found] == ["w4a4", "w2a8", "w8a8"]
    pinned = choices.pin({"a": LayerFormat.of(2, 4)})
    assert str(pinned.options[pinned.at_least(np.array([8, 2, 2]), np.array([8, 4, 4]))[0]]) == "w2a4"


def test_replacing_ties_propagates_again() -> None:
    choices = space(2).pin({"a": LayerFormat.of(2, 4)})
    tied = replace(choices, weight_ties=(("a", "b"),))
    assert set(tied.weight_bits[tied.allowed[1]]) == {2}


@given(spaces())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_space_round_trips_through_json(choices: Choices) -> None:
    again = Choices.from_dict(json.loads(json.dumps(choices.to_dict())))
    assert again.layers == choices.layers
    assert (again.weight_ties, again.activation_ties) == (choices.weight_ties, choices.activation_ties)
    for i, name in enumerate(choices.layers):
        mine = {o for o, yes in zip(choices.options, choices.allowed[i], strict=True) if yes}
        assert {o for o, yes in zip(again.options, again.allowed[again.position[name]], strict=True) if yes} == mine


def test_a_depthwise_layer_takes_no_blocks_unless_it_is_pinned() -> None:
    graph = small_graph()
    body = next(layer for layer in graph.layers if layer.name == "body")
    channels = body.weight_shape[0]
    depthwise = replace(body, weight_shape=(channels, 1, *body.weight_shape[2:]), groups=channels)
    graph = replace(graph, layers=tuple(depthwise if layer is body else layer for layer in graph.layers))
    mx, plain = LayerFormat.parse("mxfp4"), LayerFormat.of(4, 4)
    choices = Choices.of(graph, formats=[mx, plain], tied=False)
    allowed = {
        name: {o for o, yes in zip(choices.options, row, strict=True) if yes}
        for name, row in zip(choices.layers, choices.allowed, strict=True)
    }
    assert (allowed["body"], allowed["skip"]) == ({plain}, {mx, plain})
    assert Choices.of(graph, formats=[mx], pins={"body": mx}, tied=False).uniform(mx)["body"] == mx
    with pytest.raises(UsageError, match=r"layer 'body' is a depthwise convolution.*such as int8"):
        Choices.of(graph, formats=[mx], tied=False)
