"""Putting an endpoint together: the usual one, what the configuration says, and the query."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, urlencode, urlsplit


def complete_url(url: str | None, usual: str, query: Iterable[tuple[str, str]]) -> str:
    """Return ``url`` (``usual`` where there is none) with the usual path if it has none of its own.

    ``query`` is added, but for names the URL gives a value itself: what somebody wrote there has
    the last word.
    """
    parts, expected = urlsplit(url or usual), urlsplit(usual)
    path = parts.path if parts.path.strip("/") else expected.path
    given = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    ours = urlencode([pair for pair in query if pair[0] not in given], quote_via=quote)
    asked = "&".join(part for part in (parts.query, ours) if part)
    return parts._replace(path=path, query=asked, fragment="").geturl()
