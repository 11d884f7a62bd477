"""Everything the processes of a crew need, imported once before they are forked."""

import os
from importlib import import_module

import django

NEEDED = ("governance.approvals.services", "governance.budgets.tasks", "ingest.services", "ingest.verify", "tests.ingest.concurrency.work")

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "governance.conf.settings")
django.setup()
for name in NEEDED:
    import_module(name)
