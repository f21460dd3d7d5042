"""Run one program to its end; write its wall time, peak memory and exit code.

``python -I -S timed.py RESULT PROGRAM ...``: on Linux a child's peak counts what its parent held
when it was started, so that the parent must be as small as an interpreter without anything.
https://man7.org/linux/man-pages/man2/getrusage.2.html
"""

import os
import sys
import time

if __name__ == "__main__":
    result, words = sys.argv[1], sys.argv[2:]
    started = time.perf_counter()
    pid = os.posix_spawnp(words[0], words, os.environ)
    _, ended, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - started
    code = os.waitstatus_to_exitcode(ended)
    with open(result, "w", encoding="ascii") as stream:
        stream.write(f"{seconds} {usage.ru_maxrss} {code}")
