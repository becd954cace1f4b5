"""Runs `python -m provider ARGS` and writes a profile of its CPU time to FILE: FILE ARGS.

By CPU time, for on a busy machine whatever is interrupted looks slow by the wall clock.
"""

from __future__ import annotations

import cProfile
import sys
import time

from provider.cli import main

if __name__ == "__main__":
    file, *arguments = sys.argv[1:]
    profile = cProfile.Profile(time.process_time)
    try:
        profile.runcall(main, arguments)
    finally:
        profile.dump_stats(file)
