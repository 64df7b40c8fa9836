"""`python -m sae_research`."""

from __future__ import annotations

import sys

from sae_research.cli import main

if __name__ == "__main__":
    sys.exit(main())
