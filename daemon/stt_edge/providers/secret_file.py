"""The file a provider's key is in; a key that cannot be had is a failure of the provider."""

from __future__ import annotations

from stt_edge import secret_file
from stt_edge.errors import FailureKind, ProviderError, SecretError


class SecretFile(secret_file.SecretFile):
    """The file a key is in: a path, or the name of a systemd credential."""

    def __init__(self, where: str) -> None:
        """Remember the place; nothing is read yet."""
        super().__init__(where, kind="key")

    @property
    def watched(self) -> tuple[str, ...]:
        """Return what ``Provider.watched`` wants: a change of it may end what blocks a provider."""
        return (str(self.path),)

    def read(self) -> str:
        """Return the key, which no log line shows from then on.

        Raises ProviderError of kind DENIED when there is none to be had.
        """
        try:
            return super().read()
        except SecretError as error:
            denied = ProviderError(FailureKind.DENIED, error.message, remedy=error.remedy)
        raise denied
