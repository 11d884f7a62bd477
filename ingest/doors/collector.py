"""The collector as one file that any Python runs: GET /collector.pyz, packed of this installation's own sources."""

from functools import cache
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

SOURCES = Path(__file__).resolve().parents[1] / "collector"
PACKAGE = "weighhouse_collector"
SHEBANG = b"#!/usr/bin/env python3\n"
START = f"import sys\n\nfrom {PACKAGE}.__main__ import main\n\nsys.exit(main())\n"


@cache
def packed() -> bytes:
    """An application as the module zipapp makes them: the same bytes of the same sources."""
    found = BytesIO()
    with ZipFile(found, "w", ZIP_DEFLATED) as archive:
        for path in sorted(SOURCES.rglob("*.py")):
            add(archive, f"{PACKAGE}/{path.relative_to(SOURCES).as_posix()}", path.read_text(encoding="utf-8"))
        add(archive, "__main__.py", START)
    return SHEBANG + found.getvalue()


def add(archive: ZipFile, name: str, text: str) -> None:
    # A ZipInfo by itself has the first day that a zip can say, not today.
    archive.writestr(ZipInfo(name), text, compress_type=ZIP_DEFLATED)


@require_safe
def collector_file(request: HttpRequest) -> HttpResponse:
    """There is nothing secret in it: what it may post is the key's to say."""
    return HttpResponse(
        packed(),
        content_type="application/zip",
        headers={"Content-Disposition": 'attachment; filename="collector.pyz"', "Cache-Control": "no-cache"},
    )
