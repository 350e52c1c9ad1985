"""``python -m fastgcn_rec.cli``: the same as ``python -m fastgcn_rec``."""

import sys

from .program import main

sys.exit(main())
