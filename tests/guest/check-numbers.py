#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""Proves that restored raw disks are of one instant.

usage: check-numbers.py [--offset N] [--blocks N] [--at-least N] DISK...

The guest's `numbers` (writer.c tells the format) wrote one rising number in turn to each disk. Of the disks
given, in the order in which it wrote them: each ring holds no torn block, no number of another disk, and
none is missing below its highest; and the highest numbers of the disks are neighbours. Prints the
highest. --at-least fails where fewer were written: a proof over nothing is none.
"""
import argparse
import struct
import sys

BLOCK = 4096
WORDS = BLOCK // 8
MAGIC = int.from_bytes(b"VARVENUM", "little")
EMPTY = bytes(BLOCK)


def fail(text):
    sys.exit(f"check-numbers: {text}")


def read_ring(path, offset, blocks):
    """The numbers in the ring's blocks, 0 for a block never written."""
    ring = []
    with open(path, "rb") as disk:
        disk.seek(offset)
        for slot in range(blocks):
            block = disk.read(BLOCK)
            if len(block) != BLOCK:
                fail(f"{path}: the ring's block {slot} is beyond the end")
            if block == EMPTY:
                ring.append(0)
                continue
            magic, number, *rest = struct.unpack(f"<{WORDS}Q", block)
            if magic != MAGIC:
                fail(f"{path}: block {slot} is not one of the writer's")
            if any(word != number for word in rest):
                fail(f"{path}: block {slot} is torn: {number} and {sorted(set(rest))}")
            ring.append(number)
    return ring


def check_ring(path, ring, disk, disks):
    """Every number that must be there is there. Returns the highest, 0 for an empty ring."""
    highest = max(ring)
    blocks = len(ring)
    if highest == 0:
        return 0
    if (highest - 1) % disks != disk:
        fail(f"{path}: {highest} belongs to another disk")
    turn = (highest - 1) // disks
    for back in range(blocks):
        slot = (turn - back) % blocks
        expected = (turn - back) * disks + disk + 1 if back <= turn else 0
        if ring[slot] != expected:
            fail(f"{path}: a gap: block {slot} holds {ring[slot]} instead of {expected} (highest {highest})")
    return highest


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--offset", type=int, default=16 << 20)
    parser.add_argument("--blocks", type=int, default=1024)
    parser.add_argument("--at-least", type=int, default=1)
    parser.add_argument("disks", nargs="+")
    args = parser.parse_args()
    count = len(args.disks)
    highest = [
        check_ring(path, read_ring(path, args.offset, args.blocks), disk, count)
        for disk, path in enumerate(args.disks)
    ]
    if max(highest) < args.at_least:
        fail(f"only {max(highest)} numbers were written, {args.at_least} were wanted")
    top = max(highest)
    for disk, path in enumerate(args.disks):
        expected = top - ((top - 1 - disk) % count)
        if highest[disk] != max(expected, 0):
            fail(f"{path}: its highest is {highest[disk]}, at the instant of {top} it was {expected}")
    print(" ".join(map(str, highest)))


if __name__ == "__main__":
    main()
