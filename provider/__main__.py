"""`ovirt-ccm`, also as `python -m provider`."""

import sys


def main() -> int:
    """The exit status: 130 also for a Ctrl-C that comes while the program is still loaded."""
    try:
        from provider import cli

        return cli.main()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
