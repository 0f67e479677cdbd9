"""The sink that publishes records on an MQTT broker, and shows the device to Home Assistant."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from stt_edge.config.schema import option
from stt_edge.errors import SecretError, UnavailableError
from stt_edge.extras import install_command
from stt_edge.frozen import frozen
from stt_edge.secret_file import SecretFile
from stt_edge.sinks.base import Sink, SinkContext

EXTRA: Final = "mqtt"
PACKAGES: Final = ("aiomqtt",)
PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


@frozen
class Options:
    """``sinks: mqtt:`` of the configuration."""

    url: str = option(
        "mqtt://localhost",
        doc="the broker: mqtt://host, or mqtts://host for TLS; with :port if it is not the usual",
    )
    username: str | None = option(None, doc="who we are to the broker")
    password_file: str | None = option(
        None, doc="file with the password, or the name of a systemd credential"
    )
    ca_file: str | None = option(
        None, path=True, doc="certificates (PEM) to trust besides the system's"
    )
    cert_file: str | None = option(None, path=True, doc="certificate (PEM) that says who we are")
    key_file: str | None = option(None, path=True, doc="its private key, if not in cert_file")
    base: str | None = option(None, doc="what all topics begin with; default: stt-edge/ and node")
    discovery: bool | str = option(
        "device",
        choices=("device", "component", "off"),
        doc="show it to Home Assistant: device, component (before 2024.11), or off",
    )
    discovery_prefix: str = option("homeassistant", doc="what topics of discovery begin with")
    device_name: str | None = option(None, doc="what it is called there; default: stt-edge, node")
    suggested_area: str | None = option(None, doc="the room it is in")
    partials: bool = option(False, doc="publish text that is not final yet, too")
    keepalive_s: int = option(
        60, minimum=5, maximum=3600, doc="how often a silent connection is looked at"
    )

    @property
    def form(self) -> str:
        """Return ``device``, ``component`` or ``off``, which YAML reads as false."""
        if isinstance(self.discovery, bool):
            return "device" if self.discovery else "off"
        return self.discovery

    def problems(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong beyond the bounds of each key."""
        url = _split(self.url)
        if wrong := _wrong_with(url):
            yield "url", wrong
        elif url is not None and url.scheme == "mqtt":
            for key in ("ca_file", "cert_file", "key_file"):
                if getattr(self, key) is not None:
                    yield key, "needs a url that begins with mqtts://"
        if self.key_file is not None and self.cert_file is None:
            yield "key_file", "is the key to a certificate; name that with cert_file"
        if self.password_file is not None and self.username is None:
            yield "password_file", "a password needs a username"
        for key in ("base", "discovery_prefix"):
            if wrong := _wrong_with_topic(getattr(self, key)):
                yield key, wrong

    def missing_files(self) -> Iterator[tuple[str, str]]:
        """Return which of the files named here cannot be used."""
        for key in ("ca_file", "cert_file", "key_file"):
            if wrong := _wrong_with_file(getattr(self, key)):
                yield key, wrong
        if self.password_file is not None:
            secret = SecretFile(self.password_file, kind="password")
            if not secret.elsewhere and (wrong := _wrong_with_secret(secret)):
                yield "password_file", wrong

    def base_topic(self, node: str) -> str:
        """Return what the topics of a node begin with."""
        return self.base or f"stt-edge/{node}"

    @property
    def address(self) -> tuple[str, int, bool]:
        """Return the host, the port, and whether TLS is spoken there."""
        url = urlsplit(self.url)
        return url.hostname or "", url.port or PORTS[url.scheme], url.scheme == "mqtts"


def build(options: Options, context: SinkContext) -> Sink:
    """Return the sink, not open yet. Raises UnavailableError when aiomqtt is not installed."""
    try:
        from stt_edge.sinks.mqtt_sink import MqttSink
    except ImportError as error:
        raise UnavailableError(
            f"The sink mqtt cannot be loaded: {error.name or 'a module'} is not installed.",
            f"Install what it needs: {install_command(EXTRA)}",
        ) from error
    return MqttSink(options, context)


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError for one that is no number
        (parts.hostname or "").encode("idna")
    except ValueError:
        return None
    return parts


def _wrong_with(url: SplitResult | None) -> str:
    example = "write mqtt://host or mqtts://host"
    if url is None or not url.geturl().isprintable() or " " in url.geturl():
        return f"is no URL; {example}"
    if url.scheme not in PORTS:
        return f"begins with neither mqtt:// nor mqtts://; {example}"
    if "@" in url.netloc:
        return "must hold no user and no password; write them as username and password_file"
    if not url.hostname:
        return f"names no host; {example}"
    if url.port == 0:
        return "port 0 cannot be connected to"
    if url.path not in ("", "/") or url.query or url.fragment:
        return "ends with the port; topics are told by base"
    return ""


def _wrong_with_topic(topic: str | None) -> str:
    if topic is None:
        return ""
    if set(topic) & set("+#") or not topic.isprintable():
        return "must not hold + or #, which mean something in topics, nor control characters"
    if topic.startswith(("/", "$")) or topic.endswith("/"):
        return "must not begin with / or $, nor end with /"
    return "" if len(topic) <= 200 else "must have at most 200 characters"


def _wrong_with_file(name: str | None) -> str:
    if name is None:
        return ""
    path = Path(name)
    try:
        found = path.stat()
    except PermissionError:  # the service may be allowed to
        return ""
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return "" if stat.S_ISREG(found.st_mode) else f"{path} is no file"


def _wrong_with_secret(secret: SecretFile) -> str:
    try:
        if secret.path.stat() and not os.access(secret.path, os.R_OK):
            return ""  # the service may be allowed to
    except PermissionError:
        return ""
    except (OSError, ValueError):
        pass  # read says it better
    try:
        secret.read()
    except SecretError as error:
        return str(error)
    return ""
