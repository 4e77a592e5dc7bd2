#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""One command for the test guest, through the UNIX socket of its serial console.

usage: guest.py [--timeout SECONDS] SOCKET COMMAND...

Sends the command and prints what the guest says up to its answer ("guest: ok ..." or "guest: failed ...",
see tests/guest/writer.c). Status 1 for "failed", 3 for no answer in time.
"""
import argparse
import socket
import sys


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("socket")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    console = socket.socket(socket.AF_UNIX)
    console.settimeout(args.timeout)
    console.connect(args.socket)
    console.sendall(" ".join(args.command).encode() + b"\n")
    try:
        for line in console.makefile("r", encoding="utf-8", errors="replace"):
            print(line.rstrip())
            if line.startswith("guest: ok"):
                return
            if line.startswith("guest: failed"):
                sys.exit(1)
    except TimeoutError:
        print(f"guest: no answer in {args.timeout:.0f} s", file=sys.stderr)
        sys.exit(3)
    sys.exit("guest: the console was closed")


if __name__ == "__main__":
    main()
