#!/usr/bin/env python3
"""Entry point for every management command."""

import sys

from governance.conf import commands

if __name__ == "__main__":
    sys.exit(commands.run(sys.argv))
