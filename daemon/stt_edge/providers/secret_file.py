"""Keys live in files, or are systemd credentials, and are read anew for every connection."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.redaction import register_secret

_LARGEST_BYTES: Final = 64 * 1024


class SecretFile:
    """The file a secret is in: a path, or the name of a systemd credential (systemd.exec(5))."""

    def __init__(self, where: str) -> None:
        """Remember the place; nothing is read yet."""
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        named = "/" not in where and not where.startswith("~")
        if named and directory is not None:
            self.path = Path(directory, where)
        else:
            self.path = _expanded(where)
        self._remedy = f"Put the key, alone on one line, into {self.path}."
        if named and directory is None:
            self._remedy = (
                f"{where} is no path, and there is no systemd credential of this name: "
                "write the path of the file, or see LoadCredential in the documentation."
            )

    @property
    def watched(self) -> tuple[str, ...]:
        """Return what ``Provider.watched`` wants: a change of it may end what blocks a provider."""
        return (str(self.path),)

    def read(self) -> str:
        """Return the secret, which no log line shows from then on.

        Raises ProviderError of kind DENIED when there is none to be had.
        """
        try:
            found = self.path.stat()
            if not stat.S_ISREG(found.st_mode):  # reading a pipe could take for ever
                raise self._refusal("is no file")
            if found.st_size > _LARGEST_BYTES:
                raise self._refusal("is far too large for a key")
            secret = self.path.read_text(encoding="ascii").strip()
        except UnicodeDecodeError:
            raise self._refusal("holds something other than a key") from None
        except OSError as error:
            raise self._refusal(f"cannot be read: {error.strerror}") from None
        except ValueError:  # a name with a NUL in it
            raise self._refusal("has a name that no file can have") from None
        if not secret:
            raise self._refusal("is empty")
        if not secret.isprintable() or len(secret.split()) > 1:
            raise self._refusal("holds more than one line or word")
        register_secret(secret)
        return secret

    def _refusal(self, what: str) -> ProviderError:
        return ProviderError(
            FailureKind.DENIED, f"The key file {self.path} {what}.", remedy=self._remedy
        )


def _expanded(where: str) -> Path:
    try:
        return Path(where).expanduser()
    except RuntimeError:  # the home of somebody unknown
        return Path(where)
