#!/usr/bin/env python3
"""measure.py - run a command and print what it cost, as shell assignments.

    measure.py [--input FILE] [--output FILE] [--state FILE] [--hold URL] COMMAND...

    status=0           exit status (128 + signal)
    wall= cpu=         seconds; cpu is user and system time, children included
    anon_kb= rss_kb=   peaks of RssAnon, sampled every 20 ms, and of the whole resident size
    state_open=        size of the state while the command ran (its last sample)
    state_end=         and afterwards

With --hold the input goes through a pipe, which is closed only when the store at URL (a nullstore)
has not been asked for anything and the command has used no CPU time for 2 s: what is then seen of the
state is that of a whole run that is still open.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import threading
import time
import urllib.request

SAMPLE_S = 0.02
QUIET_S = 2.0


def anon_kb(pid):
    try:
        with open("/proc/%d/status" % pid, encoding="ascii", errors="replace") as f:
            for line in f:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def ticks(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as f:
            return sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))
    except (OSError, IndexError):
        return -1


def size(path):
    try:
        return os.stat(path).st_size if path else 0
    except OSError:
        return 0


def requests(url):
    with urllib.request.urlopen(url + "/_stats", timeout=10) as r:
        return json.load(r)["requests"]


def feed(path, child, url):
    """Copies the input and closes the pipe once everything has come to rest."""
    try:
        with open(path, "rb") as f:
            while data := f.read(1 << 20):
                child.stdin.write(data)
        child.stdin.flush()
        seen, since = None, time.monotonic()
        while time.monotonic() - since < QUIET_S and child.poll() is None:
            now = requests(url), ticks(child.pid)
            if not seen or now[0] != seen[0] or now[1] > seen[1]:
                seen, since = now, time.monotonic()
            time.sleep(0.2)
        child.stdin.close()
    except BrokenPipeError:
        pass


class Sampler(threading.Thread):
    def __init__(self, pid, state):
        super().__init__(daemon=True)
        self.pid, self.state = pid, state
        self.anon = self.state_size = 0
        self.ended = threading.Event()

    def run(self):
        while not self.ended.is_set():
            self.anon = max(self.anon, anon_kb(self.pid))
            self.state_size = size(self.state) or self.state_size
            self.ended.wait(SAMPLE_S)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--input", default="/dev/null")
    p.add_argument("--output", default="/dev/null")
    p.add_argument("--state")
    p.add_argument("--hold", metavar="URL")
    p.add_argument("command", nargs=argparse.REMAINDER)
    o = p.parse_args()
    start = time.monotonic()
    with open(o.input, "rb") as given, open(o.output, "wb") as out:
        child = subprocess.Popen(o.command, stdin=subprocess.PIPE if o.hold else given, stdout=out)
        sampler = Sampler(child.pid, o.state)
        sampler.start()
        if o.hold:
            feed(o.input, child, o.hold)
        status = child.wait()
    wall = time.monotonic() - start
    sampler.ended.set()
    sampler.join()
    u = resource.getrusage(resource.RUSAGE_CHILDREN)
    print("status=%d\nwall=%.3f\ncpu=%.3f\nanon_kb=%d\nrss_kb=%d\nstate_open=%d\nstate_end=%d" % (
        status if status >= 0 else 128 - status, wall, u.ru_utime + u.ru_stime, sampler.anon,
        u.ru_maxrss, sampler.state_size, size(o.state)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
