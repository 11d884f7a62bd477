"""Static files under names that carry their content's hash, once they are collected; plain names until then."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedStorage(CompressedManifestStaticFilesStorage):
    """Where nothing has been collected (tests, a first look) files go by their plain names and finders serve them."""

    def stored_name(self, name: str) -> str:
        return super().stored_name(name) if self.hashed_files else name
