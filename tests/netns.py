"""netns.py - a network of its own for a test: nothing but loopback, and nobody else's.  Weaviate opens
ports on all addresses and asks for its cloud's metadata; here it reaches nobody, and nobody it."""

import fcntl
import os
import socket
import struct
import subprocess
import sys

MARK = "LINESYNC_TEST_NETNS"
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def isolate():
    """Runs this program anew in such a network.  Returns there; or here, False, where none can be had."""
    if MARK not in os.environ:
        try:
            if subprocess.run(["unshare", "-rn", "true"], stdin=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False).returncode == 0:
                os.environ[MARK] = "%d" % os.getpid()
                os.execvp("unshare", ["unshare", "-rn", sys.executable, *sys.argv])
        except FileNotFoundError:
            pass
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        flags = struct.unpack("16xh", fcntl.ioctl(s, SIOCGIFFLAGS, struct.pack("16sh", b"lo", 0))[:18])[0]
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | IFF_UP))
    return True
