"""``python -m axon`` is the command ``axon``."""

import sys

from axon.cli import main

sys.exit(main())
