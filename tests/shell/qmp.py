#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""One QMP command, for the shell tests.

usage: qmp.py SOCKET COMMAND [ARGUMENTS-AS-JSON]
       qmp.py SOCKET --hmp LINE...      lines for the human monitor, in turn
       qmp.py SOCKET --wait EVENT
       qmp.py SOCKET --names            nodes, bitmaps, exports and jobs, for comparing before and after

Prints what the command returned as JSON (a string plainly); an error goes to stderr, status 1.
"""
import json
import socket
import sys

TIMEOUT = 300


def receive(stream):
    line = stream.readline()
    if not line:
        sys.exit("qmp: the monitor closed the connection")
    return json.loads(line)


def execute(stream, command, arguments):
    message = {"execute": command, "arguments": arguments, "id": "test"}
    stream.write(json.dumps(message).encode() + b"\n")
    stream.flush()
    while True:
        reply = receive(stream)
        if reply.get("id") != "test":
            continue
        if "error" in reply:
            sys.exit(f"qmp: {command}: {reply['error']['class']}: {reply['error']['desc']}")
        return reply["return"]


def names(stream):
    def ask(command):
        return execute(stream, command, {})
    nodes = ask("query-named-block-nodes")
    print("nodes", sorted(n["node-name"] for n in nodes if not n["node-name"].startswith("#block")))
    print("bitmaps", sorted((n["node-name"], b.get("name", "")) for n in nodes for b in n.get("dirty-bitmaps", [])))
    print("exports", sorted(e["id"] for e in ask("query-block-exports")))
    print("jobs", sorted(j["id"] for j in ask("query-jobs")))


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(TIMEOUT)
    connection.connect(sys.argv[1])
    stream = connection.makefile("rwb")
    receive(stream)
    execute(stream, "qmp_capabilities", {})
    if sys.argv[2] == "--wait":
        while receive(stream).get("event") != sys.argv[3]:
            pass
        return
    if sys.argv[2] == "--names":
        names(stream)
        return
    if sys.argv[2] == "--hmp":
        for line in sys.argv[3:]:
            print(execute(stream, "human-monitor-command", {"command-line": line}), end="")
        return
    arguments = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    value = execute(stream, sys.argv[2], arguments)
    print(value if isinstance(value, str) else json.dumps(value))


if __name__ == "__main__":
    main()
