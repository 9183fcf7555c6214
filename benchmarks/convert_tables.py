"""Makes the shipped look-up tables from the published data they come from.

    python benchmarks/convert_tables.py DATA        DATA holds hawq/ and apq/

Prints the SHA-256 of every table, which the accelerator files state.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

TABLES = Path(__file__).parents[1] / "costmodels" / "tables"
T4_HEADER = (
    "op,batch,in_channels,out_channels,in_h,in_w,kernel_h,kernel_w,stride_h,stride_w,pad_h,pad_w,groups,tokens,w_bits,a_bits,"
    "instance,latency_s,latency_std_s,runs,source"
)
APQ_HEADER = (
    "op,batch,in_channels,out_channels,in_h,in_w,kernel_h,kernel_w,stride_h,stride_w,pad_h,pad_w,groups,w_bits,a_bits,latency_s,energy_j"
)
T4_ABOUT = (
    "hwdse.table/1",
    "NVIDIA T4, batch 8: time per layer at INT4 and INT8 in the files that the integer programs of HAWQ-V3 read.",
    "Source: https://github.com/Zhen-Dong/HAWQ (MIT licence). Rows with an instance: network:layer, named as in torchvision.",
    "Rows without: median and standard deviation of the instances of that shape, over both networks.",
    "Rows of source 'tvm-autotune' are isolated kernels timed by the tuner of the same repository, for the stem and the classifier,",
    "which the integer programs leave out. Where both exist, isolated kernels are about 3 times faster than the others.",
)
APQ_ABOUT = (
    "hwdse.table/1",
    "Bit Fusion, batch 1, simulated: latency and energy of the 779 convolutions of the APQ search space at 4, 6 and 8 bits.",
    "Source: https://github.com/mit-han-lab/apq, lut/BitFusion_new.b1.dict (BSD 2-clause licence).",
)


def torchvision_name(hawq: str) -> str:
    """``stage2.unit1.quant_convbn1`` -> ``layer2.0.conv1``; the identity branch -> ``layer2.0.downsample.0``."""
    stage, unit, operation = hawq.split(".")
    inside = "downsample.0" if "identity" in operation else f"conv{operation[-1]}"
    return f"layer{stage.removeprefix('stage')}.{int(unit.removeprefix('unit')) - 1}.{inside}"


def conv(batch: int, cin: int, cout: int, size: int, kernel: int, stride: int, pad: int, groups: int) -> list[object]:
    """The shape columns of a square convolution."""
    return ["depthwise" if groups > 1 else "conv", batch, cin, cout, size, size, kernel, kernel, stride, stride, pad, pad, groups]


def t4(data: Path) -> Iterable[Sequence[object]]:
    shapes: dict[tuple[object, ...], list[float]] = {}
    for network in ("resnet18", "resnet50"):
        for row in read(data / "hawq" / f"{network}_ilp.csv"):
            size, kernel, stride = int(row["in_hw"]), int(row["kernel"]), int(row["stride"])
            pad = kernel // 2
            if (size + 2 * pad - kernel) // stride + 1 != int(row["out_hw"]):
                raise SystemExit(f"{network} {row['layer']}: padding does not give the stated output size")
            shape = conv(8, int(row["in_channels"]), int(row["out_channels"]), size, kernel, stride, pad, int(row["groups"]))
            for bits in (4, 8):
                seconds = float(row[f"latency_int{bits}_ms"]) * 1e-3
                name = f"{network}:{torchvision_name(row['layer'])}"
                yield [*shape, "", bits, bits, name, f"{seconds:.10g}", "", "", "hawq-ilp"]
                shapes.setdefault((*shape, "", bits, bits), []).append(seconds)
    for key, times in shapes.items():
        spread = f"{statistics.stdev(times):.4g}" if len(times) > 1 else ""
        yield [*key, "", f"{statistics.median(times):.10g}", spread, len(times), "hawq-ilp"]
    stems = []
    for network in ("resnet18", "resnet50"):
        for row in read(data / "hawq" / f"{network}_tvm_t4_autotune_batch8.csv"):
            seconds = float(row["latency_ms"]) * 1e-3
            if row["task"].startswith("dense"):
                yield [
                    "linear",
                    8,
                    row["in_channels"],
                    row["out_channels"],
                    *[""] * 9,
                    1,
                    8,
                    8,
                    "",
                    f"{seconds:.10g}",
                    "",
                    1,
                    "tvm-autotune",
                ]
            elif "nhwc" in row["task"]:  # its extents are listed in another order: (8, 230, 230, 3), padded by 3
                stems.append(seconds)
    stem = [*conv(8, 3, 64, 224, 7, 2, 3, 1), "", 8, 8]
    yield [*stem, "", f"{statistics.median(stems):.10g}", f"{statistics.stdev(stems):.4g}", len(stems), "tvm-autotune"]


def bitfusion(data: Path) -> Iterable[Sequence[object]]:
    for row in read(data / "apq" / "bitfusion_b1_lut.csv"):
        cin, cout, size, kernel, stride, pad, groups = (
            int(row[name]) for name in ("in_channels", "out_channels", "in_hw", "kernel", "stride", "padding", "groups")
        )
        seconds, joules = float(row["latency_ms"]) * 1e-3, float(row["energy_mJ"]) * 1e-3
        shape = conv(1, cin, cout, size, kernel, stride, pad, groups)
        yield [*shape, row["w_bits"], row["a_bits"], f"{seconds:.10g}", f"{joules:.10g}"]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def save(name: str, about: Sequence[str], header: str, rows: Iterable[Sequence[object]]) -> None:
    lines = [*(f"# {line}" for line in about), header, *(",".join(map(str, row)) for row in rows)]
    content = ("\n".join(lines) + "\n").encode()
    (TABLES / name).write_bytes(content)
    print(f"{name}: {len(lines) - len(about) - 1} rows, {len(content):,} B, sha256 {hashlib.sha256(content).hexdigest()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    save("t4.csv", T4_ABOUT, T4_HEADER, t4(data))
    save("bitfusion.csv", APQ_ABOUT, APQ_HEADER, bitfusion(data))


if __name__ == "__main__":
    main()
