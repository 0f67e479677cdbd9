"""Options that every provider on a network has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from stt_edge.config.schema import option
from stt_edge.frozen import frozen
from stt_edge.providers.base import Capabilities, Pacing


@frozen
class NetworkOptions:
    """What can be said of any provider that is reached over a network."""

    url: str | None = option(None, doc="where it is, in place of the usual endpoint")
    ca_file: str | None = option(
        None, path=True, doc="certificates (PEM) to trust besides the system's"
    )
    max_connections: int | None = option(
        None, minimum=1, maximum=32, doc="sessions at a time, if the plan allows other than usual"
    )
    rate: float | None = option(
        None, minimum=1, maximum=100, doc="how fast to send, as a multiple of real time"
    )
    price_per_hour: float | None = option(
        None, minimum=0, maximum=1000, doc="what an hour of what it bills costs, in your currency"
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong beyond the bounds of each key."""
        if self.url is not None and not _is_url(self.url):
            yield "url", "is no URL; it begins with a scheme such as wss:// and names a host"

    def apply(self, capabilities: Capabilities) -> Capabilities:
        """Return the capabilities with what the configuration says otherwise."""
        if self.max_connections is not None:
            capabilities = replace(capabilities, max_connections=self.max_connections)
        if self.rate is not None:
            pacing = Pacing(self.rate, capabilities.pacing.burst_s)
            capabilities = replace(capabilities, pacing=pacing)
        return capabilities


@frozen
class KeyOptions(NetworkOptions):
    """And of one that wants a key."""

    api_key_file: str | None = option(
        None, doc="file with the key, or the name of a systemd credential; never the key itself"
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong beyond the bounds of each key."""
        yield from NetworkOptions.problems(self)
        if self.api_key_file is None:
            yield "api_key_file", "is needed: name the file that holds the key"


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises ValueError for one that is no number
    except ValueError:
        return False
    if not text.isprintable() or " " in text:
        return False
    return bool(parts.scheme and (parts.netloc or parts.path.startswith("/")))
