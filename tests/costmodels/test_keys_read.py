"""Keys of an accelerator file that no cost depends on: found by what the cost models look at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hwdse.costmodels import Accelerator, accelerator_names, check_accelerator, load_accelerator
from hwdse.costmodels.keys_read import keys_read, without_effect
from hwdse.costmodels.variants import variants
from hwdse.errors import UsageError
from hwdse.formats import grid
from hwdse.testing import small_graph


def test_sizes_that_no_formula_takes_have_no_effect() -> None:
    assert "memory[gddr6].bytes" in without_effect(load_accelerator("t4"))
    assert "ok: memory[gddr6].bytes has no effect: no cost of this accelerator depends on it." in check_accelerator("t4")


@pytest.mark.parametrize("key", ["memory[gddr6].bytes", "memory[1].bytes", "calibration.note", "calibration.networks"])
def test_what_has_no_effect_is_not_varied(key: str) -> None:
    values = ["a", "b"] if key.endswith("note") else [4e9, 8e9] if key.endswith("bytes") else [1, 2]
    with pytest.raises(UsageError, match=r"has no effect: no cost of t4 depends on it") as caught:
        variants(load_accelerator("t4"), {key: values})
    assert f"'{key}'" in str(caught.value)


def test_a_size_that_a_formula_takes_is_varied() -> None:
    base = load_accelerator("npu")
    level = next(m for m in base.keys.memory if m.pj_per_bit == "horowitz_sram")
    assert f"memory[{base.keys.memory.index(level) + 1}].bytes" in keys_read(base)
    assert len(variants(base, {f"memory[{level.name}].bytes": [65536.0, 131072.0]})) == 2


def numbers(accelerator: Accelerator) -> list[bytes]:
    found = []
    for model in accelerator.cost_models():
        found += [a.tobytes() for a in model.tabulate(small_graph(), grid((4, 8), (8,))).numbers]
    return found


@pytest.mark.parametrize("name", [n for n in accelerator_names() if not load_accelerator(n).rows])
def test_what_is_said_to_have_no_effect_has_none(name: str) -> None:
    base = load_accelerator(name)
    assert "precision.weights" in keys_read(base)
    for key in without_effect(base):
        head, _, last = key.rpartition(".")
        keys = base.keys.model_copy(deep=True)
        place = getattr(keys, head) if "[" not in head else next(m for m in keys.memory if f"memory[{m.name}]" == head)
        value = getattr(place, last)
        place.__dict__[last] = 2 * value  # the keys are frozen
        assert numbers(replace(base, keys=keys)) == numbers(base), key
