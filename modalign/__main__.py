"""`python -m modalign`: the `modalign` program."""

import sys

from modalign.cli import main

sys.exit(main())
