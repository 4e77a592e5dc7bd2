#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""Damages a layer of a store: its table leads nowhere for some clusters, which cannot be read then.

usage: damage-layer.py LAYER OFFSET [BYTES]

LAYER is a qcow2 image with clusters of 64 KiB (docs/interop/qcow2.txt of QEMU); OFFSET is the guest's, in its first
512 MiB; one cluster, if nothing else is said.
"""
import os
import struct
import sys

CLUSTER = 65536
NOWHERE = struct.pack(">Q", 0x8000123456780000)


def main():
    layer, offset, length = sys.argv[1], int(sys.argv[2]), int((sys.argv[3:] or [CLUSTER])[0])
    os.chmod(layer, 0o600)
    with open(layer, "r+b") as image:
        image.seek(40)
        top, = struct.unpack(">Q", image.read(8))
        image.seek(top)
        table = struct.unpack(">Q", image.read(8))[0] & 0x00FFFFFFFFFFFE00
        image.seek(table + offset // CLUSTER * 8)
        image.write(NOWHERE * (length // CLUSTER))


main()
