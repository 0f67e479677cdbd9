"""Google Cloud Storage, as far as recordings are put there to be transcribed.

Everything here blocks and belongs into a thread. An object is made only where there is none of its
name (``ifGenerationMatch=0``) and carries the mark of the job it was made for, so that an upload
whose answer was lost is recognised and not repeated.
"""

from __future__ import annotations

import os
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

from stt_edge.errors import FailureKind, InputError, ProviderError
from stt_edge.frozen import frozen
from stt_edge.providers.failures import http_failure
from stt_edge.providers.google_auth import INSTALL, GoogleAccount, installed
from stt_edge.providers.google_requests import Options
from stt_edge.providers.google_results import what_was_said

if typing.TYPE_CHECKING:
    from google.api_core.exceptions import GoogleAPICallError
    from google.cloud.storage import Client

PIECE_BYTES: Final = 1 << 22
"""Of an upload; also what is in memory of it. A multiple of 256 KiB (Resumable uploads)."""
_MARK: Final = "stt-edge-job"
_TIMEOUT_S: Final = 60.0
_TRIES_S: Final = 30.0
"""For how long a request is repeated before it counts as failed."""
_EMULATOR: Final = "STORAGE_EMULATOR_HOST"
"""Of the client's own: where it is set, no credentials are needed."""


class UploadStoppedError(Exception):
    """An upload was told to stop; nothing has been made of it."""


@frozen
class StoredObject:
    """An object in a bucket."""

    bucket: str
    name: str
    generation: int
    ours: bool
    """It was made for the job that asks; else another one has put the same content there."""

    @property
    def uri(self) -> str:
        """Return its ``gs://`` address."""
        return f"gs://{self.bucket}/{self.name}"


class ObjectStorage:
    """One bucket."""

    def __init__(self, options: Options, account: GoogleAccount, bucket: str) -> None:
        """Read nothing yet. Raises ProviderError of kind SETUP without the package.

        Raises InputError where there is an API key in place of credentials.
        """
        if not installed("google.cloud.storage"):
            raise ProviderError(
                FailureKind.SETUP, "google-cloud-storage is not installed.", remedy=INSTALL
            )
        if options.api_key_file is not None and _EMULATOR not in os.environ:
            raise InputError(
                "An API key does not open a bucket.",
                "Name the JSON key of a service account in credentials_file in place of "
                "api_key_file.",
            )
        self.bucket = bucket
        self._options = options
        self._account = account

    def upload(self, sound: BinaryIO, size_bytes: int, name: str, mark: str) -> StoredObject:
        """Make an object of what ``sound`` reads, or find the one of this name.

        ``sound`` may raise UploadStoppedError from ``read``. Raises ProviderError.
        """
        from google.api_core.exceptions import PreconditionFailed

        with self._client() as client:
            blob = client.bucket(self.bucket).blob(name, chunk_size=PIECE_BYTES)
            blob.metadata = {_MARK: mark}
            try:
                blob.upload_from_file(
                    sound,
                    size=size_bytes,
                    content_type="application/octet-stream",
                    if_generation_match=0,
                    timeout=_TIMEOUT_S,
                    retry=_retry(),
                )
            except PreconditionFailed:
                blob.reload(timeout=_TIMEOUT_S, retry=_retry())
            ours = (blob.metadata or {}).get(_MARK) == mark
            return StoredObject(self.bucket, name, int(blob.generation), ours)

    def delete(self, stored: StoredObject) -> None:
        """Delete an object; one that is gone or has been replaced is left. Raises ProviderError."""
        from google.api_core.exceptions import NotFound, PreconditionFailed

        with self._client() as client:
            blob = client.bucket(self.bucket).blob(stored.name)
            try:
                blob.delete(
                    if_generation_match=stored.generation, timeout=_TIMEOUT_S, retry=_retry()
                )
            except (NotFound, PreconditionFailed):
                return

    @contextmanager
    def _client(self) -> Iterator[Client]:
        from google.cloud.storage import Client

        options = self._options
        credentials = None
        if options.credentials_file is not None or _EMULATOR not in os.environ:
            self._account.headers()  # says why there is no token better than the client would
            credentials = self._account.oauth()
        endpoint = options.storage_url and {"api_endpoint": options.storage_url.rstrip("/")}
        client = Client(project="none", credentials=credentials, client_options=endpoint or None)
        if options.ca_file is not None:
            client._http.verify = options.ca_file  # noqa: SLF001  there is no other way in
        with client, self._told():
            yield client

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn the exceptions of the client and of all it stands on into ProviderError."""
        from google.api_core.exceptions import GoogleAPICallError, RetryError
        from google.auth.exceptions import GoogleAuthError
        from google.cloud.storage.exceptions import DataCorruption
        from requests.exceptions import RequestException

        try:
            yield
        except GoogleAPICallError as error:
            raise self._refusal(error) from None
        except (RetryError, RequestException, GoogleAuthError, ConnectionError) as error:
            why = f"the object storage cannot be reached: {type(error).__name__}."
            raise ProviderError(FailureKind.CONNECT, why) from None
        except DataCorruption:
            why = "the object storage received something else than was sent."
            raise ProviderError(FailureKind.LOST, why) from None

    def _refusal(self, error: GoogleAPICallError) -> ProviderError:
        """Say what is wrong without the address asked for: it can carry the right to upload."""
        response: Any = error.response
        body = b"" if response is None else response.content
        failure = http_failure(
            int(error.code or 500), {}, what_was_said(body)[0].rstrip(".").encode()
        )
        failure.message = f"object storage: {failure.message}"
        if failure.kind is FailureKind.DENIED:
            failure.remedy = f"Give the account the role Storage Object User on {self.bucket}."
        elif error.code == 404:
            failure.remedy = f"Make a bucket named {self.bucket}, or name another."
        return failure


def _retry() -> Any:
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(_TRIES_S)
