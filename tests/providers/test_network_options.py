"""The options that every provider on a network has."""

from __future__ import annotations

from dataclasses import fields

import pytest

from stt_edge.config.schema import keys_of
from stt_edge.providers.base import Capabilities, Pacing
from stt_edge.providers.options import KeyOptions, NetworkOptions


@pytest.mark.parametrize(
    "url",
    [
        None,
        "wss://a.example",
        "https://a.example:8443/v1?x=y",
        "ws://[::1]:80/",
        "http://user:word@host",
        "unix:/run/asr.sock",
        "tcp://host:1",
    ],
)
def test_a_url_is_taken(url: str | None) -> None:
    assert list(NetworkOptions(url=url).problems()) == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.example",
        "host:80",
        "wss://",
        "wss://[::1",
        "wss://host:port",
        "wss://host:70000",
        "wss://host/a b",
        "wss://host/a\nb",
        "wss://host/\x1b",
    ],
)
def test_what_is_no_url_is_a_problem(url: str) -> None:
    ((key, said),) = NetworkOptions(url=url).problems()
    assert key == "url"
    assert "scheme" in said


def test_a_key_file_is_needed_where_there_is_a_key() -> None:
    assert [key for key, _ in KeyOptions(url="x").problems()] == ["url", "api_key_file"]
    assert list(KeyOptions(api_key_file="/key").problems()) == []


def test_the_configuration_overrides_what_the_provider_says_of_itself() -> None:
    usual = Capabilities(max_connections=2, pacing=Pacing(1.25, 0.5))
    assert NetworkOptions().apply(usual) == usual
    changed = NetworkOptions(rate=4.0, max_connections=7).apply(usual)
    assert changed.max_connections == 7
    assert changed.pacing == Pacing(4.0, 0.5)
    assert NetworkOptions(rate=4.0).apply(Capabilities()).pacing == Pacing(4.0, 0.0)


def test_every_option_can_be_left_out_and_is_explained() -> None:
    for section in (NetworkOptions, KeyOptions):
        keys = keys_of(section)
        assert [key.name for key in keys] == [item.name for item in fields(section)]
        assert all(key.optional and key.option.doc for key in keys)
    assert {key.name for key in keys_of(NetworkOptions) if key.option.path} == {"ca_file"}
