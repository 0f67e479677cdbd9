"""Google Speech as object jobs use it: submit an object once, and ask until it is transcribed.

A submission whose answer was lost may have been taken. It is looked for among the operations of
the account (``operations.list``; a job's metadata names its object): one about this object that
was not there before the submission is ours. Where none is found, or the list is refused, nobody
knows, and nothing is submitted a second time unless that is asked for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlencode

from stt_edge.errors import FailureKind, ProviderError, TemporaryError
from stt_edge.providers.base import HttpReply, HttpRequest
from stt_edge.providers.google_auth import GoogleAccount
from stt_edge.providers.google_requests import (
    Options,
    next_delay_s,
    question,
    recognition_config,
    submission,
)
from stt_edge.providers.google_rest import DENIED_REMEDY, make_transport
from stt_edge.providers.google_results import Operation, read_operation, read_success
from stt_edge.providers.json_fields import Fields, MalformedError
from stt_edge.service.object_job_file import JobFile

_PAGE: Final = 100
_PAGES: Final = 10
_LOOKS: Final = 3
"""For an operation that may not be listed at once."""
_PASSING: Final = frozenset(
    (
        FailureKind.CONNECT,
        FailureKind.LOST,
        FailureKind.TIMEOUT,
        FailureKind.SERVER,
        FailureKind.OVERLOADED,
        FailureKind.PROTOCOL,  # a captive portal's page, say
    )
)
_NOT_TAKEN: Final = frozenset(
    (
        FailureKind.CONNECT,
        FailureKind.OVERLOADED,
        FailureKind.DENIED,
        FailureKind.REQUEST,
        FailureKind.UTTERANCE,
        FailureKind.SETUP,
        FailureKind.CLOCK,
    )
)
"""After these the service has certainly made no job."""


class Patience:
    """Tries again as long as a service is not away for too long."""

    def __init__(self, give_up_s: float, first_s: float) -> None:
        """Start with a service that is there; ``first_s`` is the first wait, in seconds."""
        self._give_up_s = give_up_s
        self._away_since: float | None = None
        self._first_s = self._delay_s = first_s

    def answered(self) -> None:
        """Note that the service is there."""
        self._away_since, self._delay_s = None, self._first_s

    async def wait(self, failure: ProviderError) -> None:
        """Wait before the next attempt.

        Raises ``failure`` itself if that would not help, TemporaryError once the service has been
        away for too long.
        """
        if not passing(failure):
            raise failure
        now = asyncio.get_running_loop().time()
        self._away_since = now if self._away_since is None else self._away_since
        delay_s = max(self._delay_s, failure.retry_after_s or 0.0)
        if now + delay_s - self._away_since > self._give_up_s:
            raise TemporaryError(
                f"{failure.message.rstrip('.')}, for too long.",
                "Try again later; the job goes on where it is.",
            ) from failure
        self._delay_s = next_delay_s(self._delay_s)
        await asyncio.sleep(delay_s)


def passing(failure: ProviderError) -> bool:
    """Return whether a failure may pass by itself."""
    return failure.kind in _PASSING


class Recognition:
    """The submission of one object, and the questions about it."""

    def __init__(
        self,
        options: Options,
        account: GoogleAccount,
        file: JobFile,
        patience: Patience,
        encoding: Mapping[str, Any],
    ) -> None:
        """Take with ``encoding`` the fields of a RecognitionConfig that say how it is coded."""
        self._options = options
        self._file = file
        self._patience = patience
        self._encoding = encoding
        self._transport = make_transport(options, account)

    async def submit(self, uri: str, *, again: bool) -> None:
        """Have the file know an operation for the object at ``uri``, made once.

        ``again`` submits where it is unknown whether that has been done. Raises TemporaryError
        there otherwise, and ProviderError.
        """
        while self._file.state.operation is None:
            if self._file.state.submitting and not again:
                await self._find(uri)
            else:
                await self._submit_once(uri)

    async def wait(self, limit_s: float | None, on_percent: Callable[[int], None]) -> None:
        """Have the file know the response of the operation.

        Raises ProviderError when the operation has failed or is known no longer, TemporaryError
        when it takes more than ``limit_s``.
        """
        loop = asyncio.get_running_loop()
        until_s = None if limit_s is None else loop.time() + limit_s
        delay_s = 0.0
        name = self._file.state.operation
        assert name is not None
        while self._file.state.response is None:
            try:
                operation, reply = await self._look(name, delay_s)
            except ProviderError as failure:
                if failure.code == "404":
                    raise self._forgotten(failure) from failure
                await self._patience.wait(failure)
                continue
            self._patience.answered()
            on_percent(operation.percent)
            if operation.failure is not None:
                self._file.save(operation=None, submitting=False, known=None)
                raise operation.failure
            if operation.done:
                self._file.save(response=json.loads(reply.body)["response"])
            elif until_s is not None and loop.time() > until_s:
                raise TemporaryError(
                    "The service takes longer for the recording than it should.",
                    "Try again later; the job goes on where it is.",
                )
            delay_s = next_delay_s(delay_s or self._options.poll_s / 1.5)

    async def _submit_once(self, uri: str) -> None:
        self._file.save(submitting=True, known=await self._known(uri))
        config = {**recognition_config(self._options), **self._encoding}
        try:
            reply = await self._ask(submission(config, {"uri": uri}))
            with _understanding():
                operation = read_operation(_read(reply))
        except ProviderError as failure:
            if failure.kind not in _NOT_TAKEN and failure.code != "503":
                await self._find(uri)
                return
            self._file.save(submitting=False, known=None)
            if failure.code == "404":
                failure.remedy = f"Look whether {uri} is there, and the account may read it."
            await self._patience.wait(failure)
            return
        self._patience.answered()
        self._file.save(operation=operation.name, submitting=False, known=None)

    async def _find(self, uri: str) -> None:
        """Take up the operation of a submission without an answer. Raises TemporaryError."""
        known = self._file.state.known
        delay_s = self._options.poll_s
        for _ in range(_LOOKS if known is not None else 0):
            fresh = set(await self._list(uri) or ()) - set(known or ())
            if len(fresh) == 1:
                self._file.save(operation=fresh.pop(), submitting=False, known=None)
                return
            await asyncio.sleep(delay_s)
            delay_s = next_delay_s(delay_s)
        raise TemporaryError(
            "It is unknown whether the recording has been submitted: the answer was lost.",
            "To submit it once more, at its price, run it again with --fresh.",
        )

    async def _known(self, uri: str) -> tuple[str, ...] | None:
        there = await self._list(uri)
        return None if there is None else tuple(there)

    async def _list(self, uri: str) -> list[str] | None:
        """Return the names of the operations about ``uri``; None where that cannot be found out."""
        found: list[str] = []
        token = ""
        for _ in range(_PAGES):
            query = {"pageSize": _PAGE} | ({"pageToken": token} if token else {})
            page = await self._list_page(f"/v1/operations?{urlencode(query)}")
            if page is None:
                return None
            with _understanding():
                operations = [read_operation(item) for item in page.items("operations")]
                token = page.text("nextPageToken")
            found += [operation.name for operation in operations if operation.uri == uri]
            if not token:
                return found
        return None

    async def _list_page(self, path: str) -> Fields | None:
        while True:
            try:
                reply = await self._ask(HttpRequest("GET", path))
                with _understanding():
                    page = _read(reply)
            except ProviderError as failure:
                if failure.kind is FailureKind.REQUEST or failure.code == "403":
                    return None  # the account may submit, and may not list
                await self._patience.wait(failure)
                continue
            self._patience.answered()
            return page

    async def _look(self, name: str, delay_s: float) -> tuple[Operation, HttpReply]:
        reply = await self._ask(question(name, delay_s))
        with _understanding():
            return read_operation(_read(reply)), reply

    async def _ask(self, request: HttpRequest) -> HttpReply:
        await self._transport.send(request)
        return await self._transport.receive()

    def _forgotten(self, failure: ProviderError) -> TemporaryError:
        self._file.save(operation=None, submitting=True, known=None)
        return TemporaryError(
            f"The service knows the job no longer: {failure.message}",
            "To submit the recording once more, at its price, run it again with --fresh.",
        )


def _read(reply: HttpReply) -> Fields:
    return read_success(reply, remedy=DENIED_REMEDY)


@contextmanager
def _understanding() -> Iterator[None]:
    try:
        yield
    except MalformedError as error:
        message = f"the provider sent what cannot be understood: {error}"
        raise ProviderError(FailureKind.PROTOCOL, message) from error
