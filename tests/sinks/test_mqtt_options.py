"""What may be written under ``sinks: mqtt:``, and what check-config says of the rest."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

from stt_edge.cli.main import main
from stt_edge.sinks import registry
from stt_edge.sinks.mqtt import Options


def wrong(**options: Any) -> dict[str, str]:
    return dict(Options(**options).problems())


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://broker.lan", ("broker.lan", 1883, False)),
        ("mqtt://broker.lan/", ("broker.lan", 1883, False)),
        ("mqtt://broker.lan:18830", ("broker.lan", 18830, False)),
        ("mqtts://broker.lan", ("broker.lan", 8883, True)),
        ("MQTTS://Broker.LAN:1", ("broker.lan", 1, True)),
        ("mqtt://[::1]:1884", ("::1", 1884, False)),
        ("mqtt://192.0.2.7", ("192.0.2.7", 1883, False)),
    ],
)
def test_a_good_url_says_host_port_and_tls(url: str, address: tuple[str, int, bool]) -> None:
    assert wrong(url=url) == {}
    assert Options(url=url).address == address


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("broker.lan", "neither mqtt:// nor mqtts://"),
        ("broker.lan:1883", "neither mqtt:// nor mqtts://"),
        ("http://broker.lan", "neither mqtt:// nor mqtts://"),
        ("ws://broker.lan", "neither mqtt:// nor mqtts://"),
        ("mqtt://", "names no host"),
        ("mqtt://:1883", "names no host"),
        ("mqtt://broker.lan:port", "is no URL"),
        ("mqtt://broker.lan:99999", "is no URL"),
        ("mqtt://broker.lan:0", "port 0"),
        ("mqtt://broker lan", "is no URL"),
        ("mqtt://[::1", "is no URL"),
        (f"mqtt://{'x' * 80}.lan", "is no URL"),
        ("mqtt://broker.lan/stt-edge", "topics are told by base"),
        ("mqtt://broker.lan?tls=no", "topics are told by base"),
        ("mqtt://me@broker.lan", "no user and no password"),
        ("mqtt://me:hunter22@broker.lan", "no user and no password"),
        ("mqtt://:hunter22@broker.lan", "no user and no password"),
    ],
)
def test_a_bad_url_is_refused_and_a_password_in_it_not_repeated(url: str, said: str) -> None:
    found = wrong(url=url)
    assert said in found["url"]
    assert "hunter22" not in found["url"]


def test_what_belongs_together_has_to_be_together() -> None:
    assert set(wrong(url="mqtt://x", ca_file="/a", cert_file="/b", key_file="/c")) == {
        "ca_file",
        "cert_file",
        "key_file",
    }
    assert set(wrong(url="mqtts://x", key_file="/c")) == {"key_file"}
    assert set(wrong(password_file="/p")) == {"password_file"}
    assert wrong(url="mqtts://x", cert_file="/b", username="u", password_file="/p") == {}


@pytest.mark.parametrize("topic", ["a/#", "a/+/b", "/a", "a/", "$SYS/a", "a\x07b", "a" * 201])
@pytest.mark.parametrize("key", ["base", "discovery_prefix"])
def test_topics_that_cannot_be_are_refused(key: str, topic: str) -> None:
    assert key in wrong(**{key: topic})


def test_the_base_is_the_node_unless_it_is_written() -> None:
    assert Options().base_topic("kitchen") == "stt-edge/kitchen"
    assert Options(base="house/ear").base_topic("kitchen") == "house/ear"


def check(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    path = tmp_path / "test.yaml"
    path.write_text(text)
    code = main(["check-config", str(path)])
    return code, capsys.readouterr().out.replace(f"{path}:", "").splitlines()


def test_check_config_tells_the_place_of_a_bad_url(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "sinks:\n  mqtt:\n    url: tcp://broker.lan\n"
    code, (line,) = check(tmp_path, text, capsys)
    assert code == 78
    assert line.startswith("3:10: sinks.mqtt.url: begins with neither mqtt://")


@pytest.mark.parametrize("word", ["off", "no", "device", "component", "'off'"])
def test_discovery_can_be_switched_off_with_the_bare_word(
    word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = check(tmp_path, f"sinks: {{mqtt: {{discovery: {word}}}}}\n", capsys)
    assert code == 0


def test_the_words_yaml_reads_as_false_and_true_mean_off_and_device() -> None:
    assert Options(discovery=False).form == Options(discovery="off").form == "off"
    assert Options(discovery=True).form == Options().form == "device"


def test_check_config_tells_the_place_of_each_file_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").write_text("")
    text = """sinks:
  mqtt:
    url: mqtts://broker.lan
    username: me
    password_file: PATH/empty
    ca_file: PATH/ca.pem
    cert_file: PATH
""".replace("PATH", str(tmp_path))
    code, lines = check(tmp_path, text, capsys)
    assert code == 78
    assert [line.partition(": ")[0] for line in lines] == ["5:20", "6:14", "7:16"]
    assert "empty is empty" in lines[0]
    assert lines[1].endswith("ca.pem cannot be read: No such file or directory")
    assert lines[2].endswith("is no file")


def test_a_missing_file_keeps_no_daemon_from_starting(tmp_path: Path) -> None:
    from stt_edge.cli.common import load_config

    path = tmp_path / "test.yaml"
    path.write_text("sinks: {mqtt: {url: mqtts://broker.lan, ca_file: /nowhere/ca.pem}}\n")
    assert load_config(path).sinks is not None


def test_the_name_of_a_systemd_credential_is_left_to_systemd(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    text = "sinks: {mqtt: {username: me, password_file: mqtt}}\n"
    assert check(tmp_path, text, capsys)[0] == 0


def test_check_config_tells_that_the_package_is_missing_and_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "aiomqtt" else found(name)
    )
    code, (line,) = check(tmp_path, "sinks:\n  mqtt: {}\n", capsys)
    assert code == 78
    assert line == '2:3: sinks.mqtt: aiomqtt not installed: pip install "stt-edge[mqtt]"'
    assert registry.missing("jsonl") == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_only_the_service_may_read_is_no_problem(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret")
    file.chmod(0)
    assert dict(Options(username="me", password_file=str(file)).missing_files()) == {}
