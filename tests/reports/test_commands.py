"""The command of a point, and the sweep's file."""

import tomllib
from dataclasses import replace

from hwdse.reports.commands import quoted, reproduction, sweep_file
from hwdse.sweeps.config import SweepConfig


def _config(**more):
    return SweepConfig.make(task="digits", accelerators=["x", "chips/my chip.toml"], budgets=[["latency@x <= 3 ms"]], **more).plain()


def _with(tiny, trial, config=None, **knobs):
    return reproduction(replace(tiny, config=config or _config()), replace(trial, knobs={**trial.knobs, **knobs}))


def test_what_was_chosen_is_chosen_again(tiny):
    made = _with(tiny, tiny.trials[3], scheme="lsq+lsq@mse", epochs=5, seed=2)
    assert made.command == (
        'hwdse allocate digits -a x -b "latency@x <= 3 ms" --allocator adaqat --quantizers lsq+lsq@mse --epochs 5 --seed 2 '
        "-o tiny-3-again.json"
    )
    assert made.said.startswith("Run where the sweep was: the same widths, and the same score")


def test_settings_of_the_run_are_told(tiny):
    told = _config(sensitivity="hessian", decode=16, device="cuda", rounding="nearest", weights=[8, 4], activations=[4, 8])
    made = _with(tiny, tiny.trials[3], config=told, epochs=0).command
    assert " --weight-bits 4,8 --activation-bits 4,8 --method hessian --rounding nearest --decode 16 --device cuda -o" in made
    assert "--rounding" not in _with(tiny, tiny.trials[3], config=told, epochs=5).command  # nothing is rounded after training


def test_a_tightened_limit_is_a_number_in_the_stored_unit(tiny):
    made = _with(tiny, tiny.trials[3], budget=["latency@x <= 3 ms x 0.7773"], tightness=0.77732)
    assert f'-b "latency@x <= {3e-3 * 0.77732!r} s"' in made.command


def test_a_tightened_relative_limit_is_resolved(tiny):
    resolved = replace(tiny, limits={"weights <= 75% of w8a8": 300.0}, config=_config())
    trial = replace(tiny.trials[2], knobs={**tiny.trials[2].knobs, "budget": ["weights <= 75% of w8a8 x 0.5"], "tightness": 0.5})
    assert '-b "weights <= 150.0 B"' in reproduction(resolved, trial).command


def test_what_the_record_does_not_say_is_left_to_the_sweep(tiny):
    unheard = _with(tiny, tiny.trials[3], accelerator="unheard of")
    assert unheard.command == "hwdse sweep sweep.toml -o runs/again"
    assert "the record does not say from which file unheard of was read" in unheard.said
    unresolved = _with(tiny, tiny.trials[3], budget=["weights <= 9% of w8a8 x 0.5"], tightness=0.5)
    assert unresolved.command == "hwdse sweep sweep.toml -o runs/again"


def test_a_limit_on_a_cost_model_of_the_users_own_is_left_to_the_sweep(tiny):
    own = _with(tiny, tiny.trials[3], budget=["largest_bits <= 6", "weights <= 1 KiB"])
    assert own.command == "hwdse sweep sweep.toml -o runs/again"
    assert "hwdse allocate has no largest_bits, a cost model of the sweep's own" in own.said
    given = _with(tiny, tiny.trials[3], budget=["largest_bits <= 6"], widths="w4a4")
    assert " --widths w4a4 " in given.command  # which need no limit


def test_an_accelerator_from_a_file_is_named_by_its_path(tiny):
    filed = replace(tiny, provenance={"accelerators": {"my-chip": "chips/my chip.toml"}})
    assert ' -a "chips/my chip.toml" ' in _with(filed, tiny.trials[3], accelerator="my-chip").command


def test_a_record_of_before_files_were_kept_goes_by_their_names(tiny):
    older = replace(tiny, provenance={})
    assert ' -a "chips/my chip.toml" ' in _with(older, tiny.trials[3], accelerator="my chip").command
    assert " -a x " in _with(older, tiny.trials[3]).command
    assert _with(older, tiny.trials[3], accelerator="y").command.startswith("hwdse sweep")


def test_given_widths_are_given_again(tiny):
    baseline = _with(tiny, tiny.trials[1], widths="w4a4", accelerator=None)
    assert baseline.command == "hwdse allocate digits --widths w4a4 --epochs 1 -o tiny-1-again.json"
    refined = _with(replace(tiny, task="my <task>"), tiny.trials[3], allocation={"a": "w4a4"})
    assert refined.command == "hwdse allocate digits -a x --allocation my-task--3.json --epochs 1 -o my-task--3-again.json"
    assert refined.said.startswith("The allocation is the file that the page saves.")


def test_what_a_shell_would_read_in_double_quotes_is_in_single_ones():
    assert quoted(["a b", "plain", "$HOME x", 'say "x"', "it's"]) == """"a b" plain '$HOME x' 'say "x"' "it's\""""


def test_the_sweep_file_reads_back():
    plain = _config(decode=16)
    assert SweepConfig.make(**tomllib.loads(sweep_file(plain))).plain() == plain
    assert sweep_file({"task": "x"}) == ""
