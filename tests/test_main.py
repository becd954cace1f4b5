"""The way into the program."""

from __future__ import annotations

import subprocess
import sys

CTRL_C = """
import sys
from provider import __main__

class CtrlC:
    def find_spec(self, name, path=None, target=None):
        if name == "provider.cli":
            raise KeyboardInterrupt

sys.meta_path.insert(0, CtrlC())
sys.exit(__main__.main())
"""


def test_ctrl_c_ends_the_program_quietly_while_it_is_loaded() -> None:
    end = subprocess.run([sys.executable, "-c", CTRL_C], capture_output=True, text=True)

    assert (end.returncode, end.stderr) == (130, "")


def test_it_is_a_module_that_can_be_run() -> None:
    end = subprocess.run(
        [sys.executable, "-m", "provider", "--version"], capture_output=True, text=True
    )

    assert (end.returncode, end.stdout.split()[0]) == (0, "ovirt-ccm")
