#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""A vendor's own NBD client, of libnbd's Python binding, and other tools held to the same book-keeping.

usage: vendor.py get JSON FIELD [DISK]              a field of what `varve export begin` printed
       vendor.py full TOOL URI RAW                  reads all of it; TOOL: python, nbd, qemu
       vendor.py changes TOOL URI CONTEXT RAW       by the dirty map alone, brings RAW up to date
       vendor.py slow URI                           reads on and on
       vendor.py refused URI                        the connection must fail; prints why

The tools: "python" is libnbd's binding; "nbd" is nbdcopy and nbdinfo; "qemu" is qemu-img and qemu-io.
"""
import json
import os
import subprocess
import sys
import urllib.parse

import nbd

PIECE = 1 << 20


def get(path, field, disk=None):
    with open(path, encoding="utf-8") as f:
        report = json.load(f)
    if disk is not None:
        report = next(d for d in report["disks"] if d["name"] == disk)
    value = report.get(field)
    print("" if value is None else value if isinstance(value, str) else json.dumps(value))


def connect(uri, *contexts):
    handle = nbd.NBD()
    handle.set_uri_allow_local_file(True)
    for context in contexts:
        handle.add_meta_context(context)
    handle.connect_uri(uri)
    for context in contexts:
        if not handle.can_meta_context(context):
            sys.exit(f"vendor: no context {context} at {uri}")
    return handle


def extents(handle, context):
    """All of the disk: offset, length, flags."""
    size, at = handle.get_size(), 0
    while at < size:
        found = []

        def note(name, offset, entries, error):
            if name == context:
                found.extend(entries)

        handle.block_status(min(size - at, 1 << 30), at, note)
        if not found:
            sys.exit(f"vendor: the server said nothing of {context}")
        for length, flags in zip(found[::2], found[1::2]):
            yield at, length, flags
            at += length


def copy(handle, out, offset, length):
    while length > 0:
        piece = min(length, PIECE)
        out.seek(offset)
        out.write(handle.pread(piece, offset))
        offset += piece
        length -= piece


def full_python(uri, raw):
    handle = connect(uri, "base:allocation")
    with open(raw, "wb") as out:
        out.truncate(handle.get_size())
        for offset, length, flags in extents(handle, "base:allocation"):
            # 2: reads as zeros
            if not flags & 2:
                copy(handle, out, offset, length)
    handle.shutdown()


def full(tool, uri, raw):
    if tool == "python":
        full_python(uri, raw)
    elif tool == "nbd":
        subprocess.check_call(["nbdcopy", uri, raw])
    else:
        subprocess.check_call(["qemu-img", "convert", "-f", "raw", "-O", "raw", uri, raw])


def changes_python(uri, context, raw):
    handle = connect(uri, context)
    with open(raw, "r+b") as out:
        out.truncate(handle.get_size())
        for offset, length, flags in extents(handle, context):
            if flags & 1:
                copy(handle, out, offset, length)
                yield offset, length
    handle.shutdown()


def nbdkit_server(uri):
    """Arguments of nbdkit's nbd plugin: a URI that names files of its own it does not take."""
    parts = urllib.parse.urlsplit(uri)
    query = {name: values[0] for name, values in urllib.parse.parse_qs(parts.query).items()}
    if not parts.scheme.startswith("nbds"):
        return [f"uri={uri}"]
    server = [f"export={urllib.parse.unquote(parts.path.lstrip('/'))}", "tls=require"]
    if "socket" in query:
        server.append(f"socket={query['socket']}")
    else:
        server += [f"hostname={parts.hostname}", f"port={parts.port}"]
    if "tls-psk-file" in query:
        return server + [f"tls-psk={query['tls-psk-file']}", f"tls-username={parts.username}"]
    return server + [f"tls-certificates={query['tls-certificates']}"]


def changes_nbd(uri, context, raw):
    """nbdinfo gives the map, and nbdcopy copies: of a part, through nbdkit's offset filter. (To a pipe: into a file it
    would write at the beginning.)"""
    found = json.loads(subprocess.check_output(["nbdinfo", f"--map={context}", "--json", uri]))
    for extent in found:
        if not extent["type"] & 1:
            continue
        offset, length = extent["offset"], extent["length"]
        with open(raw, "r+b") as out:
            out.seek(offset)
            subprocess.check_call(
                ["nbdkit", "-U", "-", "--filter=offset", "nbd", *nbdkit_server(uri), f"offset={offset}",
                 f"range={length}", "--run", 'nbdcopy "$uri" - | cat'], stdout=out)
        yield offset, length


def qemu_node(uri, context=None):
    parts = urllib.parse.urlsplit(uri)
    node = {"driver": "nbd", "export": urllib.parse.unquote(parts.path.lstrip("/")),
            "server": {"type": "unix", "path": urllib.parse.parse_qs(parts.query)["socket"][0]}}
    if context:
        node["x-dirty-bitmap"] = context
    return node


def changes_qemu(uri, context, raw):
    """As incremental backups are made with QEMU's tools alone: the map by x-dirty-bitmap, in which what is dirty is
    called a hole; an overlay of the export, into which copy-on-read takes what is dirty; and that on what was there."""
    size = os.path.getsize(raw)
    text = subprocess.check_output(["qemu-img", "map", "--output=json",
                                    "json:" + json.dumps(qemu_node(uri, context))])
    overlay = raw + ".overlay"
    subprocess.check_call(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b",
                           "json:" + json.dumps({"driver": "raw", "file": qemu_node(uri)}), overlay,
                           str(size)])
    dirty = [(e["start"], e["length"]) for e in json.loads(text) if not e["data"]]
    commands = [part for offset, length in dirty for part in ("-c", f"r -q {offset} {length}")]
    if commands:
        subprocess.check_call(["qemu-io", "-C", "-f", "qcow2"] + commands + [overlay])
    subprocess.check_call(["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", raw, overlay])
    subprocess.check_call(["qemu-img", "commit", "-q", "-f", "qcow2", "-d", overlay])
    os.unlink(overlay)
    yield from dirty


def changes(tool, uri, context, raw):
    function = {"python": changes_python, "nbd": changes_nbd, "qemu": changes_qemu}[tool]
    print("changed:", sum(length for _, length in function(uri, context, raw)))


def slow(uri):
    handle = connect(uri)
    while True:
        for offset in range(0, handle.get_size() - PIECE, PIECE):
            handle.pread(PIECE, offset)


def refused(uri):
    try:
        handle = connect(uri)
    except nbd.Error as error:
        print(error)
        return
    sys.exit(f"vendor: was let in, and sees {handle.get_size()} bytes")


if __name__ == "__main__":
    {"get": get, "full": full, "changes": changes, "slow": slow, "refused": refused}[sys.argv[1]](
        *sys.argv[2:])
