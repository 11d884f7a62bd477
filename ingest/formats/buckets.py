"""Makes a client's token counts into the event's disjoint buckets. The rules stand with the readers of harness files, which run on other machines too."""

from ingest.collector.readers.buckets import Reported, disjoint

__all__ = ["Reported", "disjoint"]
