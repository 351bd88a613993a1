"""`python -m agentstream.cli`."""

from __future__ import annotations

import sys

from agentstream.cli import main

sys.exit(main())
