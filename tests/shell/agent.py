#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""One command to the guest agent of a bare QEMU, for the shell tests.

usage: agent.py SOCKET COMMAND

Prints what the agent returns, as JSON; no answer within 3 seconds, or an error, is status 1.
"""
import json
import random
import socket
import sys


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    try:
        connection.connect(sys.argv[1])
        stream = connection.makefile("rwb")
        mark = random.randrange(1, 2**31)
        sync = {"execute": "guest-sync", "arguments": {"id": mark}}
        stream.write(b"\xff" + json.dumps(sync).encode() + b"\n")
        stream.flush()
        while json.loads(stream.readline()).get("return") != mark:
            pass
        stream.write(json.dumps({"execute": sys.argv[2]}).encode() + b"\n")
        stream.flush()
        reply = json.loads(stream.readline())
    except (OSError, ValueError) as error:
        sys.exit(f"agent: {error}")
    if "error" in reply:
        sys.exit(f"agent: {reply['error']['desc']}")
    print(json.dumps(reply["return"]))


if __name__ == "__main__":
    main()
