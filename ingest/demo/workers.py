"""Spreads loading over processes. It imports no models, because a new process imports it before Django is set up."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING

import django
from django.db import connection, connections

from governance.collecting import collect_rarely

if TYPE_CHECKING:
    from ingest.demo.loading import Loader
    from ingest.demo.simulation import Plan

Job = tuple["Plan", list[int]]
Work = Callable[[Iterable[Job]], Iterator[Counter[str]]]

_loaders: "list[Loader]" = []


@contextmanager
def spread(organization_id: int, processes: int) -> Iterator[Work]:
    """A function from jobs to their counts as they come in, worked off by so many processes of their own connections."""
    arguments = (organization_id, connection.settings_dict["NAME"])
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=begin, initargs=arguments) as pool:

        def run(jobs: Iterable[Job]) -> Iterator[Counter[str]]:
            waiting = [pool.submit(work, job) for job in jobs]
            for done in as_completed(waiting):
                yield done.result()

        try:
            yield run
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def begin(organization_id: int, database: str) -> None:
    """Readies a new process for the database its parent uses, which under test is not the one in the settings."""
    django.setup()
    connections["default"].settings_dict["NAME"] = database
    from ingest.demo.loading import Loader

    _loaders.append(Loader(organization_id))
    collect_rarely()


def work(job: Job) -> Counter[str]:
    return _loaders[0].run(job)
