from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from profiler_files import CLOCKS, MACS, ROWS, SAMPLES, TFLITE, VELA, ort_trace, save, trt_layers, trt_profile

from hwdse.costmodels.importers import Facts, Match, Profile, ProfileRow, importer, match
from hwdse.costmodels.importers.layer_names import scopes
from hwdse.costmodels.importers.ops import kinds_of
from hwdse.errors import UsageError
from hwdse.graph import Layer, LayerGraph
from hwdse.testing.graphs import small_graph

GRAPH = small_graph()


def rows(*given: ProfileRow) -> Profile:
    return Profile("tool", "measured", (Path("f.csv"),), given, "times")


def row(*names: str, op: str = "", seconds: float | None = 1.0, facts: Facts = Facts(), **more: str) -> ProfileRow:  # noqa: B008  # immutable
    return ProfileRow(" + ".join(names) or "row", "f.csv", names, op, seconds, facts=facts, **more)


def joined(found: Match) -> dict[str, tuple[str, str]]:
    return {pair.layer.name: (pair.row.label, pair.how) for pair in found.pairs}


def reasons(found: Match) -> dict[str, str]:
    return {left.row.label: left.reason for left in found.rows}


def of(folder: Path, name: str, **files: str) -> Match:
    return match(GRAPH, importer(name)(save(folder, files or SAMPLES[name]())))


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_finds_every_layer_of_its_sample(tmp_path: Path, name: str) -> None:
    found = of(tmp_path, name)
    assert list(joined(found)) == list(MACS)
    assert (found.share, found.layers) == (1.0, ())
    assert {pair.how for pair in found.pairs} == ({"MACs"} if name == "vela" else {"name"})


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("layer1.0.conv1", "layer1.0.conv1"),
        ("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"),
        ("/layer2/layer2.0/downsample/downsample.0/Conv", "layer2.0.downsample.0"),
        ("fused /layer1/layer1.0/conv1/Conv_nchwc", "layer1.0.conv1"),
        ("/layer1/layer1.0/conv1/Conv_quant_token_12", "layer1.0.conv1"),
        ("layer1_0_conv1", "layer1.0.conv1"),
        ("/fc/Gemm", "fc"),
        ("/fc/MatMul/MatMulAddFusion", "fc"),
        ("/fc/Add", None),
        ("/layer1/layer1.0/Add", None),
        ("/layer1/layer1.0/conv1/_input_quantizer/QuantizeLinear", None),
        ("layer1", None),
        ("conv1", None),
        ("Conv_0", None),
        ("/1/Conv", None),
    ],
)
def test_names(name: str, layer: str | None) -> None:
    known = ("layer1.0.conv1", "layer2.0.downsample.0", "fc")
    graph = LayerGraph(tuple(replace(GRAPH["skip"], name=n) for n in known), {}, (), (), ())
    other = ProfileRow("other", "f", ("/fc/x/Gemm", "/nowhere/else/Conv"), seconds=1.0)  # no prefix is common to all
    anchor = row("layer2.0.downsample.0", op="Conv") if layer != "layer2.0.downsample.0" else row("fc", op="Conv")
    found = joined(match(graph, rows(row(name), other, anchor)))
    assert (name in [label for label, _ in found.values()]) == (layer is not None)
    if layer:
        assert found[layer] == (name, "name")


def test_a_prefix_that_all_names_share_is_left_out() -> None:
    found = match(GRAPH, rows(row("net/stem/Conv2D", op="CONV_2D"), row("net/body/Relu6", op="CONV_2D"), row("net/add", op="ADD")))
    assert joined(found) == {"stem": ("net/stem/Conv2D", "name"), "body": ("net/body/Relu6", "name")}
    assert scopes("/a/a.0/a.0.b/Conv_token_2:3") == ["a.0.b", "Conv"]


def test_names_that_differ_in_their_signs_only_find_no_layer() -> None:
    twins = LayerGraph((replace(GRAPH["body"], name="a.b_c"), replace(GRAPH["body"], name="a_b.c"), GRAPH["head"]), {}, (), (), ())
    found = match(twins, rows(row("a.b_c"), row("head")))
    assert list(joined(found)) == ["head"]


def test_words_for_operations() -> None:
    for word in ("CONV_2D", "Conv", "QLinearConv", "NhwcFusedConv", "CaskConvolution", "Conv2DBias", "Conv_downsample"):
        assert "conv" in (kinds_of(word) or ())
    for word in ("DEPTHWISE_CONV_2D", "DepthwiseConv2DBias"):
        assert kinds_of(word) == {"depthwise"}
    for word in ("FULLY_CONNECTED", "Gemm", "MatMul", "QLinearMatMul", "gemm"):
        assert "linear" in (kinds_of(word) or ())
    for word in ("Relu", "QuantizeLinear", "DequantizeLinear", "Convert", "Add", "MAX_POOL_2D", "Transpose", "BatchNormalization", "Mean"):
        assert kinds_of(word) == frozenset()
    assert kinds_of("TRANSPOSE_CONV") == {"conv_transpose"}
    assert kinds_of("") is None


def test_one_time_for_two_layers_is_not_divided(tmp_path: Path) -> None:
    times = {"/body/Conv + /bn/Relu || /skip/Conv": 5.0, "/stem/Conv": 1.0, "/head/Gemm": 1.0}
    found = of(tmp_path, "trtexec", **{"p.json": trt_profile(times)})
    assert list(joined(found)) == ["stem", "head"]
    (left,) = [x for x in found.rows if x.why == "fused"]
    assert (left.layers, left.reason) == (("body", "skip"), "one time for 2 layers; it cannot be divided among them")
    assert {layer.name: why for layer, why in found.layers} == {name: f"fused into '{next(iter(times))}'" for name in ("body", "skip")}


def test_two_operations_of_which_the_model_has_one_are_not_taken_for_it(tmp_path: Path) -> None:
    found = of(tmp_path, "trtexec", **{"p.json": trt_profile({"/body/Conv || /gone/Conv": 5.0, "/stem/Conv": 1.0})})
    assert list(joined(found)) == ["stem"]


def test_two_rows_of_one_layer_are_not_added() -> None:
    found = match(GRAPH, rows(row("/body/Conv"), row("/body/Conv_1"), row("head")))
    assert list(joined(found)) == ["head"]
    assert reasons(found)["/body/Conv"] == "2 rows name this layer, and nothing says how to add them"
    partly = match(GRAPH, rows(row("/body/Conv"), row("/body/Conv_1", seconds=None, lacks="it runs on the CPU"), row("head")))
    assert list(joined(partly)) == ["head"]


def test_a_row_without_a_cost_gives_its_layer_none() -> None:
    found = match(GRAPH, rows(row("/body/Conv", seconds=None, lacks="0 cycles"), row("head")))
    assert {layer.name: why for layer, why in found.layers}["body"] == "no cost in '/body/Conv': 0 cycles"


def test_rows_of_no_layer_say_why(tmp_path: Path) -> None:
    profile = rows(
        row("stem"), row("relu", op="Relu"), row(opaque="a copy between formats"), row("x", op="Conv", facts=Facts(macs=5)), row("y")
    )
    assert list(reasons(match(GRAPH, profile)).values()) == [
        "Relu, which is no counted layer",
        "a copy between formats",
        "no layer has its MACs",
        "no layer has its name",
    ]


@pytest.mark.parametrize(
    ("facts", "op", "reason"),
    [
        (Facts(macs=5), "Conv", "5 MACs in the file, 73,728 in the model"),
        (Facts(weights=5), "Conv", "5 weights in the file, 2,304 in the model"),
        (Facts(input=(8, 16, 8, 4)), "Conv", "input 8x16x8x4 in the file, 1x16x8x4 in the model (is it another batch size?)"),
        (Facts(output=(1, 32, 8, 4)), "Conv", "output 1x32x8x4 in the file, 1x16x8x4 in the model"),
        (Facts(kernel=(5, 5)), "Conv", "kernel 5x5 in the file, 3x3 in the model"),
        (Facts(stride=(2, 2)), "Conv", "stride 2x2 in the file, 1x1 in the model"),
        (Facts(groups=16), "Conv", "16 groups in the file, 1 in the model"),
        (Facts(), "Gemm", "Gemm in the file, conv in the model"),
    ],
)
def test_a_name_does_not_help_against_what_the_file_says(facts: Facts, op: str, reason: str) -> None:
    found = match(GRAPH, rows(row("body", op=op, facts=facts), row("head")))
    assert list(joined(found)) == ["head"]
    assert reasons(found)["body"] == reason
    assert [(layer.name, why) for layer, why in found.layers if layer.name == "body"] == [("body", f"refused: 'body': {reason}")]


def test_another_layout_is_no_contradiction() -> None:
    assert joined(match(GRAPH, rows(row("body", facts=Facts(input=(1, 8, 4, 16), output=(1, 8, 4, 16))))))


@pytest.mark.parametrize("block", [8, 16])
def test_channels_rounded_up_to_blocks_are_the_layer_s_where_the_file_works_in_blocks(block: int) -> None:
    odd = replace(GRAPH["stem"], input_shape=(1, 3, 8, 8), output_shape=(1, 20, 8, 4), weight_shape=(20, 3, 3, 3), macs=17_280)
    graph = LayerGraph((odd, GRAPH["head"]), {}, (), (), ())
    wide = -(-20 // block) * block
    facts = Facts(input=(1, 3, 8, 8), output=(1, wide, 8, 4), kernel=(3, 3), blocked=True)
    assert joined(match(graph, rows(row("/Relu_output_0_nchwc", op="Conv", facts=facts)))) == {"stem": ("/Relu_output_0_nchwc", "shape")}
    for other in (replace(facts, blocked=False), replace(facts, output=(1, 40, 8, 4)), replace(facts, output=(2, wide, 8, 4))):
        with pytest.raises(UsageError, match="no row of"):
            match(graph, rows(row("/Relu_output_0_nchwc", op="Conv", facts=other)))


def test_shapes_find_a_layer_only_where_one_row_and_one_layer_have_them() -> None:
    body, skip = Facts(macs=73_728), Facts(input=(1, 16, 8, 4), output=(1, 16, 8, 4))
    found = match(
        GRAPH, rows(row("a", op="Conv", facts=body), row("b", op="Conv", facts=skip), row("c", op="Conv", facts=Facts(macs=13_824)))
    )
    assert joined(found) == {"stem": ("c", "MACs")}  # a and b both fit body
    assert reasons(found)["b"] == "more than one row or layer has its shape: body, skip"
    twice = rows(row("a", op="Conv", facts=body), row("b", op="Conv", facts=body), row("head"))
    assert list(joined(match(GRAPH, twice))) == ["head"]


def test_a_profile_of_another_batch_size_is_refused_as_one(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"no row of .* Refused: '/stem/Conv \+ /relu/Relu': input 8x3x8x8 in the file, 1x3x8x8 .*another batch size"
    ):
        of(tmp_path, "trtexec", **{"p.json": trt_profile(), "l.json": trt_layers(batch=8)})


def test_nothing_in_common_names_both_sides(tmp_path: Path) -> None:
    other = ort_trace(names=dict.fromkeys(MACS, "x") | {"stem": "/features/Conv"}).replace("[1, 16", "[1, 48").replace("[1, 8", "[1, 9")
    with pytest.raises(
        UsageError,
        match=r"no row of t\.json is the cost of a layer .* Rows: /features/Conv.* Layers: stem, body, skip, head\. .*another net",
    ):
        of(tmp_path, "onnxruntime", **{"t.json": other.replace("[1, 3,", "[1, 4,").replace("[1, 10]", "[1, 11]")})


def test_by_order_needs_kinds_and_number_to_agree(tmp_path: Path) -> None:
    anonymous = TFLITE.replace("net/", "w/").replace("stem", "a").replace("body", "b").replace("skip", "c").replace("head", "d")
    profile = importer("tflite")(save(tmp_path, {"p.csv": anonymous}))
    with pytest.raises(UsageError, match="--by-order joins them"):
        match(GRAPH, profile)
    found = match(GRAPH, profile, by_order=True)
    assert {how for _, how in joined(found).values()} == {"order"}
    assert [pair.row.seconds for pair in found.pairs] == pytest.approx([1e-5, 2e-5, 3e-5, 4e-5])
    shorter = replace(profile, rows=profile.rows[1:])
    with pytest.raises(
        UsageError, match=r"as many rows as layers: the file has 3 \(CONV_2D, CONV_2D, FULLY_CONNECTED\), the model 4 \(conv, conv"
    ):
        match(GRAPH, shorter, by_order=True)
    turned = replace(profile, rows=profile.rows[::-1])
    with pytest.raises(
        UsageError, match=r"cannot be layer 'stem': FULLY_CONNECTED in the file, conv in the model\. The orders do not agree"
    ):
        match(GRAPH, turned, by_order=True)


def test_by_order_does_not_go_against_names_or_counts(tmp_path: Path) -> None:
    profile = importer("vela")(save(tmp_path, {"p.csv": VELA}))
    with pytest.raises(UsageError, match=r"cannot be layer 'stem': 73,728 MACs in the file, 13,824 in the model"):
        match(GRAPH, replace(profile, rows=(profile.rows[3], profile.rows[1], *profile.rows[4:])), by_order=True)
    named = rows(row("body", op="Conv"), row("x", op="Conv"), row("y", op="Conv"), row("z", op="Gemm"))
    with pytest.raises(UsageError, match=r"'body' .* cannot be layer 'stem': it was matched otherwise by its name or shape"):
        match(GRAPH, named, by_order=True)


def test_by_order_leaves_out_what_has_no_cost(tmp_path: Path) -> None:
    text = VELA.replace("Conv2D,Conv2D,NPU,455,43.5,4000,40.0,4000", "Conv2D,Passthrough,CPU,455,43.5,0,0,0")
    found = match(GRAPH, importer("vela")(save(tmp_path, {"p.csv": text})), by_order=True)
    assert list(joined(found)) == ["stem", "skip", "head"]
    assert {layer.name: why for layer, why in found.layers} == {"body": "no cost in 't2': it runs on the CPU, which Vela does not estimate"}


def test_the_share_of_macs_and_of_time(tmp_path: Path) -> None:
    found = match(GRAPH, rows(row("body", seconds=3.0), row("copy", op="Transpose", seconds=1.0)))
    assert found.share == pytest.approx(73_728 / sum(MACS.values()))
    assert found.time_share == pytest.approx(0.75)
    assert match(GRAPH, importer("vela")(save(tmp_path, {"p.csv": VELA}))).time_share is None


def test_layers_that_no_table_can_describe_get_no_row() -> None:
    deep = Layer("deep", "conv", 8, (1, 2, 4, 4, 4), (1, 2, 4, 4, 4), "w", (2, 2, 1, 1, 1), 0, "deep", (1,) * 3, (0,) * 3, (1,) * 3)
    graph = LayerGraph((deep, GRAPH["head"]), {}, (), (), ())
    assert list(joined(match(graph, rows(row("deep"), row("head"))))) == ["head"]


def test_clocks_are_needed_for_these_formats_only() -> None:
    assert set(CLOCKS) < set(SAMPLES)
    assert set(ROWS) == set(MACS)
