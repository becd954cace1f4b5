"""`python -m provider` is `ovirt-ccm`."""

import sys

from provider.cli import main

sys.exit(main())
