"""The command of a point, and the sweep's file."""

import tomllib
from dataclasses import replace

from hwdse.reports.commands import reproduction, sweep_file
from hwdse.sweeps.config import SweepConfig


def _config(**more):
    return SweepConfig.make(task="digits", accelerators=["x", "chips/my chip.toml"], budgets=[["latency@x <= 3 ms"]], **more).plain()


def _with(tiny, trial, config=None, **knobs):
    return reproduction(replace(tiny, config=config or _config()), replace(trial, knobs={**trial.knobs, **knobs}))


def test_what_allocate_can_say(tiny):
    made = _with(tiny, tiny.trials[3], scheme="lsq+lsq@mse", epochs=5, seed=2)
    assert made.command == (
        "hwdse allocate digits -a x -b 'latency@x <= 3 ms' --allocator adaqat --epochs 5 --seed 2 --quantizers lsq+lsq@mse "
        "--method fit --rounding adaptive --device cpu -o trial-3.json"
    )


def test_a_tightened_limit_is_a_number_in_the_stored_unit(tiny):
    made = _with(tiny, tiny.trials[3], budget=["latency@x <= 3 ms x 0.7773"], tightness=0.77732)
    assert f"-b 'latency@x <= {3e-3 * 0.77732!r} s'" in made.command


def test_a_tightened_relative_limit_is_resolved(tiny):
    resolved = replace(tiny, limits={"weights <= 75% of w8a8": 300.0}, config=_config())
    trial = replace(tiny.trials[2], knobs={**tiny.trials[2].knobs, "budget": ["weights <= 75% of w8a8 x 0.5"], "tightness": 0.5})
    assert "-b 'weights <= 150.0 B'" in reproduction(resolved, trial).command


def test_an_accelerator_from_a_file_is_named_by_its_path(tiny):
    assert " -a 'chips/my chip.toml' " in _with(tiny, tiny.trials[3], accelerator="my chip").command
    assert _with(tiny, tiny.trials[3], accelerator="unheard of").command == "hwdse sweep sweep.toml -o runs/again"


def test_given_widths_are_made_by_the_sweep(tiny):
    assert _with(tiny, tiny.trials[1], widths="w4a4").command == "hwdse sweep sweep.toml --trials 2 -o runs/again"
    assert _with(tiny, tiny.trials[3], allocation={"a": "w4a4"}).command == "hwdse sweep sweep.toml -o runs/again"
    assert _with(tiny, tiny.trials[3], config=_config(weights=[4, 8])).command == "hwdse sweep sweep.toml -o runs/again"


def test_the_sweep_file_reads_back():
    plain = _config(decode=16)
    assert SweepConfig.make(**tomllib.loads(sweep_file(plain))).plain() == plain
    assert sweep_file({"task": "x"}) == ""
