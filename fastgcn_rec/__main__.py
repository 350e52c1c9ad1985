"""``python -m fastgcn_rec``: the command line."""

import sys

from .cli import main

sys.exit(main())
