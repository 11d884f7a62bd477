"""The Celery application: tasks are found in every app's tasks.py."""

import os
import warnings
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_process_init, worker_ready

from governance.collecting import collect_rarely

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "governance.conf.settings")
app = Celery("weighhouse")
# Being current counts for the importing thread alone; the web server answers in threads of its own.
app.set_default()
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# Celery warns of root because of pickled messages; ours are JSON.
warnings.filterwarnings("ignore", message=r"\s*You're running the worker with superuser privileges")
RARE_S = 3600
# What can wait lets first whatever somebody waits for, such as a webhook that was due while no worker ran.
SETTLED_S = 15


@setup_logging.connect
def keep_our_log(**_: Any) -> None:
    """That somebody listens keeps Celery from setting up a log of its own; Django's settings hold for it too."""


@worker_process_init.connect
def ready(**_: Any) -> None:
    collect_rarely()


@worker_ready.connect
def begin(**_: Any) -> None:
    """Leaves the first sign of life, and runs soon what beat would first ask for after an hour or more."""
    app.send_task("governance.conf.tasks.heartbeat")
    for entry in app.conf.beat_schedule.values():
        if entry["schedule"] >= RARE_S:
            app.send_task(entry["task"], countdown=SETTLED_S)
