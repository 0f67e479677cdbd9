"""The gRPC transport: one bidirectional stream of serialised messages, whatever they mean.

``b""`` asks for the half-close: the other side is told that no more requests come, and answers the
rest. The end of the call is ``TransportClosedError`` with the number of the status (0 is OK) and
its text.

``https://host[:port]`` is TLS, always verified. ``http://`` is plain text and taken for this
machine alone: it is for trying things out. Proxies are those of the environment; gRPC sees to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import ssl
import typing
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.frozen import frozen
from stt_edge.providers.base import Outgoing, TransportClosedError
from stt_edge.providers.failures import excerpt, grpc_failure
from stt_edge.providers.transports.tls import tls_context

if typing.TYPE_CHECKING:
    import grpc

HALF_CLOSE: Final = b""
_LARGEST_MESSAGE_BYTES: Final = 4 * 1024 * 1024
_STALL_S: Final = 15.0
_CLOSE_S: Final = 1.0
_LONGEST_WAIT_S: Final = 86_400
_CANCELLED: Final = 1
_PORTS: Final = {"https": 443, "http": 80}

# https://grpc.github.io/grpc/core/group__grpc__arg__keys.html
_CHANNEL: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_receive_message_length", _LARGEST_MESSAGE_BYTES),
    # Servers hang up on a client that pings more often, and this is what Google's own clients do.
    ("grpc.keepalive_time_ms", 30_000),
    # It is TCP_USER_TIMEOUT as well, which finds a link that is gone in the middle of speech.
    ("grpc.keepalive_timeout_ms", 12_000),
    # Who tries again, and when, is for the session to say.
    ("grpc.enable_retries", 0),
    # Else connections are shared between channels, and with them back-off and name lookup.
    ("grpc.use_local_subchannel_pool", 1),
)


@frozen
class GrpcEndpoint:
    """Where, what and with which metadata to call; made anew for every connection."""

    url: str = field(repr=False)
    """``https://host:port`` or, on this machine, ``http://host:port``; a path is ignored."""
    method: str
    """``/package.Service/Method``."""
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Names are in lower case."""

    @property
    def secure(self) -> bool:
        """Return whether it is reached over TLS."""
        return urlsplit(self.url).scheme == "https"

    @property
    def where(self) -> str:
        """Return host and port, with brackets around an IPv6 address."""
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        port = parts.port or _PORTS[parts.scheme]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@frozen
class _End:
    """The status of a call that is over."""

    code: int
    details: str
    metadata: Mapping[str, str | bytes]


def url_problem(url: str) -> str | None:
    """Return what is wrong with the URL of a gRPC server, or None."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme not in _PORTS or not host:
        return "is a URL such as https://speech.example.com:443"
    if parts.scheme == "http" and not _is_this_machine(host):
        return "sends speech and key in plain text; only https:// leaves this machine"
    return None


class GrpcTransport:
    """Moves the messages of one call. See ``base.Transport``."""

    def __init__(
        self,
        endpoint: Callable[[], GrpcEndpoint],
        *,
        ca_file: str | None = None,
        stall_s: float = _STALL_S,
    ) -> None:
        """Prepare; ``endpoint`` is called in a thread, and may read files and raise ProviderError.

        A message that the peer has not taken for ``stall_s`` is a peer that has stopped reading.
        """
        self.endpoint = endpoint
        self._ca_file = ca_file
        self._stall_s = stall_s
        self._where = ""
        self._channel: grpc.aio.Channel | None = None
        self._call: Any = None
        self._sending: asyncio.Task[None] | None = None
        self._end: _End | None = None
        self._gone = False

    async def connect(self) -> None:
        """Connect and begin the call: new channel, new name lookup. Raises ProviderError."""
        endpoint, credentials = await asyncio.to_thread(self._prepare)
        import grpc

        self._where = endpoint.where
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(endpoint.where, options=_CHANNEL)
        else:
            self._channel = grpc.aio.secure_channel(endpoint.where, credentials, options=_CHANNEL)
        self._call = self._channel.stream_stream(endpoint.method)(
            metadata=tuple(endpoint.metadata.items())
        )
        self._call.add_done_callback(self._note_end)
        try:
            await self._call.wait_for_connection()
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                raise connect_failure(error.details() or "", endpoint.where) from None
            # The server has answered already; what it says is for the protocol to understand.

    async def send(self, message: Outgoing) -> None:
        """Send one message, or the half-close, waiting while the peer is slow.

        Raises TransportClosedError; ProviderError when the peer takes nothing any more.
        """
        assert isinstance(message, bytes)
        if self._sending is not None:  # whoever waited for it was cancelled
            await self._sent(self._sending)
        if self._gone or self._call.done():
            raise TransportClosedError(None)
        # In a task of its own: a cancelled write would cancel the call.
        work = self._call.done_writing() if message == HALF_CLOSE else self._call.write(message)
        self._sending = asyncio.create_task(_written(work))
        await self._sent(self._sending)

    async def receive(self) -> bytes:
        """Return the next message. Raises TransportClosedError; ProviderError when it is lost."""
        import grpc

        try:
            message = await self._call.read()
        except asyncio.CancelledError:
            if _cancelled() or not self._gone:
                raise
            # The call was, by ``abort``.
        except grpc.aio.AioRpcError:
            pass  # as in the end of the call
        else:
            if message is not grpc.aio.EOF:
                return typing.cast("bytes", message)
        raise self._ending()

    async def close(self) -> None:
        """End the call and the channel, within a second or two; never raises."""
        self.abort()
        if self._sending is not None:
            await asyncio.wait({self._sending}, timeout=_CLOSE_S)
        if self._channel is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await self._channel.close()

    def abort(self) -> None:
        """Let go at once; never raises, may be called twice."""
        self._gone = True
        if self._call is not None:
            self._call.cancel()

    async def _sent(self, sending: asyncio.Task[None]) -> None:
        done, _ = await asyncio.wait({sending}, timeout=self._stall_s)
        if not done:
            raise ProviderError(
                FailureKind.TIMEOUT, f"{self._where} has taken nothing for {self._stall_s:g} s."
            )
        self._sending = None
        if self._call.done():
            raise TransportClosedError(None)

    def _note_end(self, call: Any) -> None:
        """Keep the status as soon as it comes.

        A write that fails because the call is over puts INTERNAL in its place
        (https://github.com/grpc/grpc/issues/36066), and a refused key would look like a bad server.
        """
        if self._end is None:
            code = _at_once(call.code()).value[0]
            self._end = _End(
                code, _at_once(call.details()) or "", _at_once(call.trailing_metadata())
            )

    def _ending(self) -> TransportClosedError | ProviderError:
        end = self._end
        if end is None:
            return TransportClosedError(_CANCELLED)
        if "larger than max" in end.details:  # gRPC's own complaint about what it received
            complaint = "the provider sent a message that is too large."
            return ProviderError(FailureKind.PROTOCOL, complaint)
        if (wait_s := _retry_after_s(end.metadata)) is not None:
            failure = grpc_failure(end.code, end.details)
            failure.kind, failure.retry_after_s = FailureKind.OVERLOADED, wait_s
            return failure
        return TransportClosedError(end.code, end.details)

    def _prepare(self) -> tuple[GrpcEndpoint, grpc.ChannelCredentials | None]:
        # It would write to stderr what is reported here anyway.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        import grpc

        endpoint = self.endpoint()
        if problem := url_problem(endpoint.url):
            raise ProviderError(FailureKind.SETUP, f"url {problem}.")
        if not endpoint.secure:
            return endpoint, None
        return endpoint, grpc.ssl_channel_credentials(_roots(self._ca_file))


def connect_failure(details: str, where: str) -> ProviderError:
    """Return what the text of a failed connection to ``where`` (host:port) means."""
    if "not yet valid" in details or "NOT_YET_VALID" in details:
        return ProviderError(
            FailureKind.CLOCK,
            f"the certificate of {where} is not valid yet: this machine's clock is behind.",
            remedy="Set the clock: timedatectl status.",
        )
    remedy = ""
    if "CERTIFICATE_VERIFY_FAILED" in details:
        remedy = "If its certificate is a private one, name the one that signed it in ca_file."
    message = f"no connection to {where}: {excerpt(details)}."
    return ProviderError(FailureKind.CONNECT, message, remedy=remedy)


def _at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return what a coroutine returns that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as returned:
        return returned.value
    coroutine.close()
    raise AssertionError("the call has ended and has no status")


def _retry_after_s(metadata: Mapping[str, str | bytes]) -> float | None:
    """Return the wait a server asks for: RetryInfo (https://cloud.google.com/apis/design/errors)."""
    if (packed := dict(metadata).get("grpc-status-details-bin")) is None:
        return None
    from google.protobuf.message import DecodeError
    from google.rpc.error_details_pb2 import RetryInfo
    from google.rpc.status_pb2 import Status

    found = RetryInfo()
    try:
        unpacked = [detail.Unpack(found) for detail in Status.FromString(packed).details]
    except DecodeError:
        return None
    seconds = float(found.retry_delay.seconds)
    return seconds if any(unpacked) and 0 <= seconds <= _LONGEST_WAIT_S else None


async def _written(work: Coroutine[Any, Any, None]) -> None:
    """Wait for a write; why one fails is learned by reading, which gives the status."""
    import grpc

    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await work


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _roots(ca_file: str | None) -> bytes | None:
    """Return the certificates to trust, in PEM form; None is gRPC's own list.

    Raises ProviderError of kind SETUP.
    """
    known = tls_context(None).get_ca_certs(binary_form=True)
    found = "".join(ssl.DER_cert_to_PEM_cert(certificate) for certificate in known).encode()
    if ca_file is not None:
        tls_context(ca_file)  # complains about one that cannot be used
        found += Path(ca_file).read_bytes()
    return found or None


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
