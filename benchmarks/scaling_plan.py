"""What a large run on a cluster takes, worked out from constants.

    python benchmarks/scaling_plan.py [--hours 60000] [--model wavlm-large] [--workers 64] ...

Constants of reading and telling are those that benchmarks/cluster.py measures; rates of GPUs and
disks, and prices, are assumptions, to be replaced by your own.
"""

from __future__ import annotations

import argparse
import math

from voxstrata.models import load_model
from voxstrata.streaming.cluster.tree import leaves, tree
from voxstrata.streaming.setup import LONG_CORPUS_S, LONG_SHARD_S, SHARD_S


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--hours", type=float, default=60_000, help="of speech")
    add("--model", default="wavlm-large", help="its untrained twin is made, for layers and flops")
    add("--workers", type=int, default=64, help="GPUs")
    add("--folds", type=int, default=10, help="of the jackknife")
    add("--recording", type=float, default=12.0, help="mean seconds of a recording")
    add("--forward", type=float, default=200.0, help="TFLOP/s of a GPU in the model (assumed)")
    add("--products", type=float, default=40.0, help="TFLOP/s in float32 products (assumed)")
    add("--disk", type=float, default=10.0, help="GB/s of the shared disk, all together (assumed)")
    add("--one", type=float, default=0.4, help="GB/s of one worker, its states read (measured)")
    add("--decode", type=float, default=4500.0, help="s of FLAC read a second and core (measured)")
    add("--cores", type=int, default=8, help="of a worker")
    add("--flac", type=float, default=16.0, help="kB a second of speech")
    add("--told", type=float, default=0.3, help="kB a recording in a task (measured)")
    add("--gpu-price", type=float, default=3.0, help="an hour (assumed)")
    add("--disk-price", type=float, default=20.0, help="a TB and month (assumed)")
    given = parser.parse_args()

    model = load_model(f"random:{given.model}")
    width = sum(layer.width for layer in model.layers if layer.default)
    rate = 50.0
    seconds = given.hours * 3600
    rows, recordings = rate * seconds, seconds / given.recording
    forward = seconds * model.flops_per_second
    moments = rows * width**2  # W^2 / 2 multiply-adds a row
    fold = width**2 / 2 * 8
    shards = math.ceil(seconds / (SHARD_S if seconds < LONG_CORPUS_S else LONG_SHARD_S))
    pieces = leaves(0, shards, 1, lead=True, state_bytes=int(fold * given.folds))
    each = shards / given.folds

    def folds_in(first: int, stop: int) -> int:
        return int((stop - 1) // each) - int(first // each) + 1

    nodes = list(tree(pieces).walk())
    written = sum(folds_in(node.first, node.stop) * fold for node in nodes)
    last = 0.0  # the way from the last leaf to the root: reading, and writing what came out
    node = nodes[-1]
    while node.parts:
        last += sum(folds_in(p.first, p.stop) for p in node.parts) * fold
        last += folds_in(node.first, node.stop) * fold
        node = max(node.parts, key=lambda part: part.stop - part.first)
    forward_s = forward / (given.forward * 1e12 * given.workers)
    moments_s = moments / (given.products * 1e12 * given.workers)
    decode_s = seconds / given.decode / (given.workers * given.cores)
    audio = seconds * given.flac * 1e3
    handed_s = 2 * written / (given.disk * 1e9)
    work_s = max(forward_s + moments_s, decode_s)
    leaf_s = work_s * given.workers / len(pieces)
    gpu_hours = given.workers * (work_s + handed_s) / 3600
    frames, means = rows * width * 2, recordings * width * 4
    price, disk_price = gpu_hours * given.gpu_price, given.disk_price / 1e12
    lines = [
        ("models", f"{forward:.2g} FLOP", f"{forward_s / 60:.0f} min"),
        ("moments", f"{moments:.2g} FLOP, W = {width}", f"{moments_s / 60:.0f} min"),
        ("reading FLAC", f"{audio / 1e12:.1f} TB", f"{audio / given.disk / 6e10:.0f} min of disk"),
        ("decoding FLAC", f"{given.workers * given.cores} cores", f"{decode_s / 60:.0f} min"),
        (
            "leaves",
            f"{len(pieces)}, {given.hours / len(pieces):.0f} h each",
            f"{leaf_s:.0f} s each",
        ),
        ("states written and read", f"{2 * written / 1e12:.1f} TB", f"{handed_s / 60:.0f} min"),
        (
            "the last joins",
            f"{last / 1e9:.0f} GB, one by one",
            f"{last / given.one / 6e10:.1f} min",
        ),
        ("memory of sums on a GPU", f"{given.folds * fold / 1e9:.0f} GB, all folds", "-"),
        ("memory at the root", f"{2 * given.folds * fold / 1e9:.0f} GB, of the node", "-"),
        ("told by the scheduler", f"{recordings * given.told / 1e6:.1f} GB", "-"),
        ("GPU time", f"{gpu_hours:.0f} h", f"{price:.0f}"),
        ("frames kept, 16 bits", f"{frames / 1e12:.0f} TB", f"{frames * disk_price:.0f} a month"),
        ("means kept", f"{means / 1e12:.1f} TB", f"{means * disk_price:.0f} a month"),
    ]
    print("| what | how much | time or price |\n|---|---|---|")
    for name, much, time in lines:
        print(f"| {name} | {much} | {time} |")


if __name__ == "__main__":
    main()
