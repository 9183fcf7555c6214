"""``hwdse sensitivity``: its methods, its notes, and the audit."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from commands import cache, hwdse, task_file

from hwdse.cli.sensitivity import run
from hwdse.errors import UnknownName
from hwdse.sensitivity import SENSITIVITIES
from hwdse.sensitivity.audit import Audit, audit


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return task_file(tmp_path)


def audited(task: str, figure: Path | None = None, *, as_json: bool = False, method: str = "fit") -> str:
    """What the audit prints."""
    out = io.StringIO()
    with patch.dict(os.environ, {"HWDSE_CACHE": str(cache()), "COLUMNS": "160"}), contextlib.redirect_stdout(out):
        run(task, method, None, True, figure, 0, as_json)
    return out.getvalue()


@pytest.mark.parametrize("method", ["fit_exact", "hessian"])
def test_new_methods_give_tables(toy: str, method: str) -> None:
    found = json.loads(hwdse("sensitivity", toy, "--method", method, "--json").out)
    assert found["method"] == method
    assert found["convention"].startswith({"fit_exact": "FIT", "hessian": "Hessian"}[method])
    for row in found["layers"]:
        losses = [row["weights"][str(w)] for w in range(2, 9)]
        assert losses == sorted(losses, reverse=True)
        assert losses[0] > 0


def test_notes_are_printed(tmp_path: Path, toy: str) -> None:
    """A layer that the loss does not see is named, in the text and in the JSON."""
    blind = task_file(
        tmp_path,
        """
class Blind(Toy):
    name = "blind"
    def model(self):
        net = super().model()
        net[2].register_forward_hook(lambda module, inputs, output: output.detach())
        return net
""",
        of="Blind",
    )
    ran = hwdse("sensitivity", blind, "--figure", "s.png", columns=400)
    said = "no gradient reaches the weights and inputs of 0, 2: what these lose was measured on the calibration split, one tensor and width"
    assert f"Note: {said}" in ran.text
    found = json.loads(hwdse("sensitivity", blind, "--json").out)
    assert [note.partition(" at a time")[0] for note in found["notes"]] == [said]
    losses = [loss for layer in found["layers"][:2] for what in ("weights", "activations") for loss in layer[what].values()]
    assert max(losses) > 0  # the loss sees them, though no gradient comes back


@pytest.mark.slow
def test_audit_in_words_and_as_json(toy: str, tmp_path: Path) -> None:
    """One audit, printed both ways; JSON holds what the table rounds."""
    made: list[Audit] = []

    def once(*arguments: Any, **options: Any) -> Audit:
        if not made:
            made.append(audit(*arguments, **options))
        return made[0]

    with patch("hwdse.cli.sensitivity.run_audit", once):
        said = audited(toy, tmp_path / "audit.svg")
        found: dict[str, Any] = json.loads(audited(toy, tmp_path / "audit.png", as_json=True))
    rows = {words[0]: words for line in said.splitlines() if len(words := line.split()) > 2 and words[2] == "s"}
    assert set(rows) == set(SENSITIVITIES)
    assert rows["measured"][-3:] == ["-", "-", "-"]  # cells are held against it
    assert found["verdict"] in " ".join(said.split())
    assert f"Figure: {tmp_path / 'audit.svg'}" in said
    assert "<svg" in (tmp_path / "audit.svg").read_text()
    assert (tmp_path / "audit.png").read_bytes().startswith(b"\x89PNG")
    methods = {one["method"]: one for one in found["methods"]}
    assert set(methods) == set(SENSITIVITIES)
    assert found["best"] == found["methods"][0]["method"]
    assert found["verdict"].startswith(found["best"])
    assert methods[found["best"]]["within_noise_of_best"] is True
    for one in methods.values():
        part = one["allocations"]
        assert part["low"] <= part["spearman"] <= part["high"]
        assert len(part["predicted"]) == len(found["allocations"]) == 48
        assert len(one["cells"]["predicted"]) == len(found["cells"])
        assert one["seconds"] > 0
    # two free layers, two tensors each, seven widths of which the widest is what the others are held against
    assert len(found["cells"]) == 2 * 2 * 6
    assert {cell["layer"] for cell in found["cells"]} == {"2", "4"}
    for allocation in found["allocations"]:
        assert allocation["widths"]["0"] == allocation["widths"]["6"] == "w8a8"
    order = sorted((one["allocations"]["spearman"] for one in found["methods"]), reverse=True)
    assert [one["allocations"]["spearman"] for one in found["methods"]] == order


def test_audit_says_a_bad_figure_before_the_work(toy: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"unknown figure format 'jpg'"):
        audited(toy, tmp_path / "audit.jpg")
