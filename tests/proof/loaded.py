"""Everything the processes need, imported once before they are forked."""

import os
from importlib import import_module

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "governance.conf.settings")
django.setup()
import_module("tests.proof.workers")
