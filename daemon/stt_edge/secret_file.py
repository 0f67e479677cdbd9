"""Keys and passwords live in files, or are systemd credentials, and are read anew at each use."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from stt_edge.errors import SecretError
from stt_edge.redaction import register_secret

_LARGEST_BYTES: Final = 64 * 1024


class SecretFile:
    """The file a secret is in: a path, or the name of a systemd credential (systemd.exec(5))."""

    def __init__(self, where: str, *, kind: str = "key") -> None:
        """Remember the place; nothing is read yet. ``kind`` is ``key`` or ``password``.

        A key is one word in ASCII, a password one line of any text.
        """
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        named = "/" not in where and not where.startswith("~")
        if named and directory is not None:
            self.path = Path(directory, where)
        else:
            self.path = _expanded(where)
        self._kind = kind
        self._remedy = f"Put the {kind}, alone on one line, into {self.path}."
        self.elsewhere = named and directory is None
        """It names a credential, and this process was not started by systemd with one."""
        if self.elsewhere:
            self._remedy = (
                f"{where} is no path, and there is no systemd credential of this name: "
                "write the path of the file, or see LoadCredential in the documentation."
            )

    def read(self) -> str:
        """Return the secret, which no log line shows from then on.

        Raises SecretError when there is none to be had.
        """
        try:
            found = self.path.stat()
            if not stat.S_ISREG(found.st_mode):  # reading a pipe could take for ever
                raise self._refusal("is no file")
            if found.st_size > _LARGEST_BYTES:
                raise self._refusal(f"is far too large for a {self._kind}")
            secret = self._content()
        except UnicodeDecodeError:
            raise self._refusal(f"holds something other than a {self._kind}") from None
        except OSError as error:
            raise self._refusal(f"cannot be read: {error.strerror}") from None
        except ValueError:  # a name with a NUL in it
            raise self._refusal("has a name that no file can have") from None
        if not secret:
            raise self._refusal("is empty")
        self._check_form(secret)
        register_secret(secret)
        return secret

    def _content(self) -> str:
        if self._kind == "key":
            return self.path.read_text(encoding="ascii").strip()
        return self.path.read_text(encoding="utf-8").rstrip("\r\n")

    def _check_form(self, secret: str) -> None:
        if self._kind == "key" and (not secret.isprintable() or len(secret.split()) > 1):
            raise self._refusal("holds more than one line or word")
        if not secret.isprintable():
            raise self._refusal("holds more than one line")

    def _refusal(self, what: str) -> SecretError:
        return SecretError(f"The {self._kind} file {self.path} {what}.", self._remedy)


def _expanded(where: str) -> Path:
    try:
        return Path(where).expanduser()
    except RuntimeError:  # the home of somebody unknown
        return Path(where)
