"""Everything the processes need, imported once before they are forked."""

import logging
import os
from importlib import import_module

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "governance.conf.settings")
django.setup()
import_module("tests.proof.workers")
# Each cut connection is told of in a log; what came of them is in the report.
logging.disable(logging.ERROR)
