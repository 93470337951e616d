"""`python -m tests.kernels`."""

import sys

from tests.kernels.run import main

sys.exit(main())
