"""Who we are to Google: an API key, a service account, or the credentials of this machine.

For every provider that asks Google for something:

    class Options(GoogleOptions): ...            the keys url, ca_file, …, api_key_file and
                                                 credentials_file, and their ``problems``
    account = GoogleAccount(name, options)       one a provider: it keeps the access token
    account.check()                              in build(): SETUP where google-auth is missing
    account.headers()                            {"x-goog-api-key": …} or {"authorization": …};
                                                 blocks, so call it in a thread, at every connect
    account.watched                              for Provider.watched
    account.remedy                               what to do about a refusal
    account.oauth()                              the google.auth object, for a client of Google's

Header names are in lower case, as gRPC metadata wants them. A key goes into a header and never
into a URL. With a key nothing of Google's packages is imported.
"""

from __future__ import annotations

import importlib.util
import json
import typing
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from stt_edge.config.schema import option
from stt_edge.errors import FailureKind, ProviderError
from stt_edge.extras import install_command
from stt_edge.frozen import frozen
from stt_edge.providers.failures import excerpt
from stt_edge.providers.options import NetworkOptions
from stt_edge.providers.secret_file import SecretFile
from stt_edge.redaction import register_secret

if typing.TYPE_CHECKING:
    from google.auth.credentials import Credentials

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
INSTALL: Final = f"Install it: {install_command('google')}"
_TOKEN_TIMEOUT_S: Final = 10.0


@frozen
class GoogleOptions(NetworkOptions):
    """The keys of every provider of Google's."""

    api_key_file: str | None = option(
        None, doc="file with an API key, or the name of a systemd credential; never the key itself"
    )
    credentials_file: str | None = option(
        None, doc="JSON file of a service account, or the name of a systemd credential"
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong beyond the bounds of each key."""
        if self.api_key_file is not None and self.credentials_file is not None:
            yield "credentials_file", "give api_key_file or credentials_file, not both"


class GoogleAccount:
    """What requests to Google carry to be let in."""

    def __init__(self, name: str, options: GoogleOptions) -> None:
        """Read nothing yet. Without a key or a file it is what google.auth finds by itself."""
        self._name = name
        self._ca_file = options.ca_file
        self._key = _secret_file(options.api_key_file)
        self._file = _secret_file(options.credentials_file)
        self._known: tuple[str, Credentials] | None = None

    @property
    def watched(self) -> tuple[str, ...]:
        """Return the files whose change may end what blocks the provider."""
        return tuple(place for file in (self._key, self._file) if file for place in file.watched)

    @property
    def remedy(self) -> str:
        """Return what to do when Google does not accept who we are."""
        if self._key is not None:
            return f"Put a valid key into {self._key.path}."
        if self._file is not None:
            return f"Put a valid key of the service account into {self._file.path}."
        return "See to the application default credentials, or name a file by api_key_file."

    def check(self) -> None:
        """Raise ProviderError of kind SETUP where the packages for what is configured are gone."""
        if self._key is None and not installed("google.auth"):
            raise ProviderError(
                FailureKind.SETUP,
                f"The provider {self._name} needs the package google-auth, unless it is given an "
                "API key (api_key_file).",
                remedy=INSTALL,
            )

    def headers(self) -> dict[str, str]:
        """Return the headers, with an access token that is good for some minutes at least.

        Reads files, and asks for a token over the network about once an hour. Raises
        ProviderError: DENIED for what a person must change, CLOCK, CONNECT and SERVER.
        """
        if self._key is not None:
            return {"x-goog-api-key": self._key.read()}
        import requests
        from google.auth import exceptions
        from google.auth.transport.requests import Request

        credentials = self.oauth()
        headers: dict[str, str] = {}
        with requests.Session() as session:
            session.verify = self._ca_file or True
            request: Any = partial(Request(session), timeout=_TOKEN_TIMEOUT_S)
            try:
                credentials.before_request(request, "POST", "", headers)  # type: ignore[no-untyped-call]
            except exceptions.TransportError as error:
                raise _failure(FailureKind.CONNECT, error) from None
            except exceptions.GoogleAuthError as error:
                raise _refusal(error) from None
            except OSError as error:  # a ca_file that is none
                raise _failure(FailureKind.CONNECT, error) from None
        register_secret(headers.get("authorization", "").removeprefix("Bearer "))
        return headers

    def oauth(self) -> Credentials:
        """Return the credentials; the same ones until the file changes.

        Raises ProviderError of kind DENIED where there are none, or a file holds none.
        """
        text = "" if self._file is None else _read(self._file.path)
        if self._known is None or self._known[0] != text:
            found = _default() if self._file is None else _of_service_account(self._file.path, text)
            self._known = text, found
        return self._known[1]


def installed(module: str) -> bool:
    """Return whether a package is there, without importing it (its parents are)."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _secret_file(where: str | None) -> SecretFile | None:
    return None if where is None else SecretFile(where)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _unusable(path, "is no text") from None


def _of_service_account(path: Path, text: str) -> Credentials:
    from google.auth.exceptions import GoogleAuthError
    from google.oauth2.service_account import Credentials as ServiceAccount

    try:
        known = json.loads(text)
    except (ValueError, RecursionError):
        raise _unusable(path, "is no JSON") from None
    if not isinstance(known, dict) or known.get("type") != "service_account":
        raise _unusable(path, "is not the key of a service account")
    if isinstance(private_key := known.get("private_key"), str):
        register_secret(private_key)
    try:
        found = ServiceAccount.from_service_account_info(known, scopes=[SCOPE])  # type: ignore[no-untyped-call]
    except (ValueError, KeyError, TypeError, AttributeError, GoogleAuthError):
        raise _unusable(path, "is an incomplete or damaged key of a service account") from None
    return typing.cast("Credentials", found)


def _default() -> Credentials:
    """Return what google.auth finds: GOOGLE_APPLICATION_CREDENTIALS, gcloud's, the machine's own.

    See https://google.aip.dev/auth/4110.
    """
    import google.auth
    from google.auth.exceptions import GoogleAuthError

    try:
        found, _ = google.auth.default(scopes=[SCOPE])
    except GoogleAuthError as error:
        raise ProviderError(
            FailureKind.DENIED,
            f"There are no credentials for Google: {excerpt(_said(error))}",
            remedy="Name a file by api_key_file or credentials_file.",
        ) from None
    return found


def _refusal(error: Any) -> ProviderError:
    """Return why there is no token (RFC 6749, 5.2; Google's texts)."""
    said = _said(error)
    if "reasonable timeframe" in said or "iat and exp" in said:
        return _failure(FailureKind.CLOCK, error, "Set the clock: timedatectl status.")
    if error.retryable:
        return _failure(FailureKind.SERVER, error)
    return _failure(FailureKind.DENIED, error, "Check the service account and its key.")


def _failure(kind: FailureKind, error: Exception, remedy: str = "") -> ProviderError:
    message = f"Google gave no access token: {excerpt(_said(error))}."
    return ProviderError(kind, message, remedy=remedy)


def _said(error: Exception) -> str:
    return str(error.args[0]) if error.args else type(error).__name__


def _unusable(path: Path, what: str) -> ProviderError:
    return ProviderError(
        FailureKind.DENIED,
        f"The credentials file {path} {what}.",
        remedy=f"Download a JSON key of the service account into {path}.",
    )
