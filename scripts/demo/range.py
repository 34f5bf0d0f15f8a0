#!/usr/bin/env python3
"""range.py [127.X.Y.0/24]: claim a range of addresses for a site, print it, and hold it until stdin ends.

Without one it is the first of 127.91.0.0/16 that nobody holds and on which nobody listens. Whoever listens on its .254,
port 61000, holds it: so of two that begin at once the kernel gives it to one, whatever their folders and users are, and a
claim ends with its holder, by kill -9 too. Once a site is up its servers listen, and that is seen.

Exit codes: 0 held until stdin ended, 1 somebody else has it, or all of them, 2 usage.
"""

import re
import socket
import sys

PORT = 61000  # beyond those that the kernel gives away by itself


def hold(prefix):
    """The listener that holds the range; nothing if somebody else does."""
    holder = socket.socket()
    try:
        holder.bind((f"{prefix}.254", PORT))
        holder.listen(1)
    except OSError:
        holder.close()
        return None
    return holder


def used(prefix):
    """Whether somebody listens there, besides us who hold it."""
    # as the kernel writes an address: backwards, in hexadecimal
    range_ = "%02X%02X%02X" % tuple(int(number) for number in reversed(prefix.split(".")))
    for protocol, listens in (("tcp", "0A"), ("udp", "07")):
        with open(f"/proc/net/{protocol}", encoding="ascii") as sockets:
            for line in sockets:
                _, local, _, state, *_ = line.split()
                if local[2:8] == range_ and state == listens and local != f"FE{range_}:{PORT:04X}":
                    return True
    return False


def main():
    asked = sys.argv[1:]
    if len(asked) > 1 or any(not re.fullmatch(r"127(\.\d{1,3}){3}/\d+", range_) for range_ in asked):
        print(f"range.py: {' '.join(asked)} is no range (try: 127.91.3.0/24, or none)", file=sys.stderr)
        sys.exit(2)
    for range_ in asked or [f"127.91.{third}.0/24" for third in range(3, 255)]:
        prefix = range_.rsplit(".", 1)[0]
        # held first and then looked at: who was there before is seen, who comes behind us finds it held
        holder = hold(prefix)
        if holder and not used(prefix):
            print(range_, flush=True)
            sys.stdin.read()
            return
        if holder:
            holder.close()
    sys.exit(1)


main()
