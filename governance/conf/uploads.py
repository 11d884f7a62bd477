"""Files that forms send go to disk as they come, up to a bound: nobody fills memory or disk with a form, signed in or not."""

from io import BytesIO
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import StopUpload, TemporaryFileUploadHandler

MOST_BYTES = 100 * 1024 * 1024
# A form that declares far more than that is not even read.
MOST_DECLARED = 2 * MOST_BYTES


class CutFile(UploadedFile):  # type: ignore[type-arg] # takes none when it runs
    """A file that was larger than is taken: nothing of it was kept, and the page says so."""

    is_cut = True

    def __init__(self, name: str, size: int) -> None:
        super().__init__(BytesIO(), name, "application/octet-stream", size)


class BoundedUpload(TemporaryFileUploadHandler):
    """Writes a file to disk; beyond the bound the rest is read past and not kept, so that the page can still answer."""

    seen = 0

    def handle_raw_input(self, input_data: Any, META: Any, content_length: Any, boundary: Any, encoding: Any = None) -> None:  # noqa: N803, PLR0917
        if content_length > MOST_DECLARED:
            raise StopUpload(connection_reset=True)

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        self.seen = 0
        super().new_file(*args, **kwargs)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self.seen += len(raw_data)
        if self.seen <= MOST_BYTES:
            super().receive_data_chunk(raw_data, start)
        else:
            self.file.close()

    def file_complete(self, file_size: int) -> Any:
        if self.seen > MOST_BYTES:
            return CutFile(self.file_name or "file", file_size)
        return super().file_complete(file_size)
