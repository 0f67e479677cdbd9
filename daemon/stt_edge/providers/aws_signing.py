"""Presigned URLs for Amazon Transcribe's WebSocket, by botocore, with its chain of credentials.

The signature covers the host with its port, every parameter and the time; it is good for 300 s
(Amazon Transcribe docs, "Setting up a WebSocket stream"). botocore is imported when it is used.
"""

from __future__ import annotations

import os
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers.failures import excerpt
from stt_edge.providers.secret_file import SecretFile
from stt_edge.providers.transports.websocket import WebSocketEndpoint
from stt_edge.redaction import register_secret

_SERVICE: Final = "transcribe"
_PATH: Final = "/stream-transcription-websocket"
_PORT: Final = 8443
_EXPIRES_S: Final = 300
_AS_HTTP: Final = {"wss": "https", "ws": "http"}


class AccessKey(typing.NamedTuple):
    """Credentials of AWS at one moment, as botocore signs with them."""

    access_key: str
    secret_key: str
    token: str | None

    def __repr__(self) -> str:
        """Return nothing that is secret."""
        return "AccessKey(…)"


class Credentials:
    """Where the credentials are: a file of our own, or whatever botocore finds."""

    def __init__(self, profile: str | None, file: str | None) -> None:
        """Remember the place; nothing is read yet."""
        self._profile = profile
        self._file = None if file is None else SecretFile(file).path
        self._session: Any = None
        self._used: AccessKey | None = None
        self._expired: AccessKey | None = None

    @property
    def remedy(self) -> str:
        """Return what to do when the credentials are refused."""
        section = self._profile or "default"
        lines = "aws_access_key_id = … and aws_secret_access_key = …"
        if self._file is not None:
            return f"Put a valid key into {self._file}: under [{section}], lines {lines}."
        return (
            f"Put a valid key into {_shared_file()}: under [{section}], lines {lines}; "
            "or name another file in credentials_file."
        )

    @property
    def watched(self) -> tuple[str, ...]:
        """Return the file whose change may end what blocks the provider."""
        return (str(self._file or _shared_file()),)

    def read(self) -> AccessKey:
        """Return what is valid now; may take a request where a role is assumed.

        Raises ProviderError: DENIED when there is nothing, CONNECT when it cannot be fetched now.
        """
        from botocore import exceptions

        try:
            found = self._from_chain() if self._file is None else self._from_file(self._file)
            frozen = None if found is None else found.get_frozen_credentials()
        except (exceptions.HTTPClientError, exceptions.CredentialRetrievalError) as error:
            said = excerpt(str(error))
            raise ProviderError(
                FailureKind.CONNECT, f"AWS credentials cannot be fetched: {said}."
            ) from None
        # RuntimeError: they were refreshed and are expired all the same (botocore.credentials)
        except (exceptions.BotoCoreError, exceptions.ClientError, RuntimeError) as error:
            raise self._refusal(excerpt(str(error))) from None
        if frozen is None or not frozen.access_key or not frozen.secret_key:
            raise self._refusal("none found")
        register_secret(frozen.secret_key)
        if frozen.token:
            register_secret(frozen.token)
        self._used = AccessKey(frozen.access_key, frozen.secret_key, frozen.token)
        return self._used

    def renew(self) -> bool:
        """Forget credentials that have expired; False if looking again has brought the same."""
        self.forget()
        again = self._expired is not None and self._expired == self._used
        self._expired = self._used
        return not again

    def forget(self) -> None:
        """Look for credentials anew the next time."""
        self._session = None

    def region(self) -> str:
        """Return the region of the environment or the profile. Raises ProviderError: SETUP."""
        from botocore.exceptions import BotoCoreError

        try:
            region = self._chain().get_config_variable("region")
        except BotoCoreError as error:
            raise self._refusal(excerpt(str(error))) from None
        if not region:
            raise ProviderError(
                FailureKind.SETUP,
                "No AWS region is given.",
                remedy="Write region: and the name of one, such as eu-west-1.",
            )
        return str(region)

    def _from_file(self, file: Path) -> Any:
        from botocore.credentials import SharedCredentialProvider

        try:
            file.open("rb").close()
        except OSError as error:
            raise self._refusal(f"{file} cannot be read: {error.strerror}") from None
        return SharedCredentialProvider(str(file), self._profile).load()

    def _from_chain(self) -> Any:
        return self._chain().get_credentials()

    def _chain(self) -> Any:
        from botocore.session import Session

        session = self._session or Session(profile=self._profile)
        self._session = session  # ``forget`` may come from another thread meanwhile
        return session

    def _refusal(self, what: str) -> ProviderError:
        self.forget()
        return ProviderError(FailureKind.DENIED, f"AWS credentials: {what}.", remedy=self.remedy)


class SigningEndpoint:
    """Makes the URL of the next connection: called anew for each, in a thread."""

    def __init__(
        self,
        credentials: Credentials,
        parameters: Mapping[str, str],
        *,
        region: str | None,
        url: str | None,
    ) -> None:
        """Sign ``parameters`` of the request; ``url`` stands in for the region's own endpoint."""
        self._credentials = credentials
        self._parameters = dict(parameters)
        self._region = region
        self._url = url

    def __call__(self) -> WebSocketEndpoint:
        """Return where to connect within the next five minutes. Raises ProviderError."""
        region = self._region or self._credentials.region()
        url = endpoint_url(region, self._url)
        return WebSocketEndpoint(presign(url, region, self._credentials.read(), self._parameters))


def endpoint_url(region: str, url: str | None = None) -> str:
    """Return a region's endpoint, or ``url`` with the service's path if it has none.

    Raises ProviderError of kind SETUP for what is no URL of a WebSocket.
    """
    if url is None:
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        return f"wss://transcribestreaming.{region}.{suffix}:{_PORT}{_PATH}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _AS_HTTP and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ProviderError(
            FailureKind.SETUP,
            "url is none that can be used.",
            remedy="It begins with ws:// or wss://.",
        )
    return url if parts.path.strip("/") else url.rstrip("/") + _PATH


def presign(url: str, region: str, key: AccessKey, parameters: Mapping[str, str]) -> str:
    """Return ``url`` with the parameters and a signature of now (Signature Version 4, in a query).

    ``url`` is one that ``endpoint_url`` returned.
    """
    from botocore.auth import SigV4QueryAuth
    from botocore.awsrequest import AWSRequest

    scheme, _, rest = url.partition("://")
    request = AWSRequest("GET", f"{_AS_HTTP[scheme]}://{rest}", params=dict(parameters))
    SigV4QueryAuth(key, _SERVICE, region, expires=_EXPIRES_S).add_auth(request)
    return f"{scheme}://{typing.cast('str', request.url).partition('://')[2]}"


def _shared_file() -> Path:
    named = os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
    # Path.expanduser raises for a service without a home
    return Path(os.path.expanduser(named))  # noqa: PTH111
