"""What the pages' tests start from serves here too."""

from tests.dashboards.conftest import at_now, prices

__all__ = ["at_now", "prices"]
