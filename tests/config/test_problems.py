"""What the loader says of files that are wrong: all of it, with the place and the remedy."""

from __future__ import annotations

import pytest

from stt_edge.config.loader import loads
from stt_edge.errors import ConfigError, SttEdgeError
from tests.config.schemas import PATH, SINKS, Registry, complaints, load_text


def test_every_problem_is_told_at_once_in_the_order_of_the_file() -> None:
    text = (
        "audio:\n"
        "  block_ms: 16k\n"
        "  devce: auto\n"
        "vad: {aggressiveness: 9, confirm: 2}\n"
        "sinks: {jornal: {}}\n"
        "providers:\n"
        "  - {name: nobody}\n"
        "  - {name: pocketsphinx, retry: {attempts: none}}\n"
    )
    assert complaints(text) == [
        "2:13: audio.block_ms: expected int, got str '16k'",
        "3:3: audio.devce: unknown key; did you mean device?",
        "4:23: vad.aggressiveness: must be at most 3, got 9",
        "4:35: vad.confirm: expected str, got int 2; write '2' if the text is meant",
        "5:9: sinks: no sink 'jornal'; did you mean journal?",
        "7:12: providers[0].name: no provider 'nobody'; there are cloud, cloudless, pocketsphinx",
        "8:44: providers[1].retry.attempts: expected int, got str 'none'",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("dance: 1", "1:1: dance: unknown key; there are node, audio, vad, session"),
        ("hangover_ms: 600", "1:1: hangover_ms: unknown key; it belongs in vad"),
        ("vad: {hangoverMs: 1}", "1:7: vad.hangoverMs: unknown key; did you mean hangover_ms?"),
        ("vad: {pre-roll-ms: 1}", "1:7: vad.pre-roll-ms: unknown key; did you mean pre_roll_ms?"),
        ("Audio: {}", "1:1: Audio: unknown key; did you mean audio?"),
        ("12: a", "1:1: 12: unknown key"),
        ("vad: {'<<': {}}", "1:7: vad.'<<': unknown key"),
        ("? [a]\n: b", "1:3: the file: a key has to be a name"),
        ('"\\e[2J": 1', "1:1: '\\x1b[2J': unknown key"),
        (f"{'a' * 99}: 1", f"1:1: '{'a' * 39}…': unknown key"),
    ],
)
def test_an_unknown_key_is_an_error_with_a_suggestion(text: str, complaint: str) -> None:
    (found,) = complaints(text)
    assert found.startswith(complaint)


def test_a_key_given_twice_is_an_error_that_names_the_first() -> None:
    assert complaints("node: a\naudio: {}\nnode: b\n") == [
        "3:1: node: given twice, first in line 1"
    ]
    assert complaints("vad: {<<: {}, <<: {}}") == ["1:15: vad.'<<': given twice, first in line 1"]
    assert complaints("vad: {confirm: none,\n  confirm: auto}") == [
        "2:3: vad.confirm: given twice, first in line 1"
    ]


def test_a_provider_whose_name_is_taken_is_an_error_that_names_the_first() -> None:
    (found,) = complaints("providers:\n- name: cloud\n- name: cloud\n")
    assert found.startswith("3:9: providers[1].name: cloud is taken in line 2; ")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("audio: {block_ms: 20.0}", "1:19: audio.block_ms: expected int, got float 20.0"),
        ("audio: {block_ms: true}", "1:19: audio.block_ms: expected int, got bool true"),
        ("audio: {block_ms: }", "1:18: audio.block_ms: expected int, got nothing; give a value"),
        ("audio: {block_ms: [1]}", "1:19: audio.block_ms: expected int, got list"),
        ("audio: {block_ms: {}}", "1:19: audio.block_ms: expected int, got mapping"),
        ("audio: {block_ms: '40'}", "1:19: audio.block_ms: expected int, got str '40'; write it w"),
        ("audio: {channel: true}", "1:18: audio.channel: expected int or str, got bool true"),
        ("audio: {channel: left}", "1:18: audio.channel: must be a number or mix, got 'left'"),
        ("audio: {device: [a]}", "1:17: audio.device: expected str, got list"),
        ("audio: {device: ''}", "1:17: audio.device: must not be empty"),
        ("audio: {device: ' '}", "1:17: audio.device: must not be empty"),
        ("audio: {command: arecord -t raw}", "1:18: audio.command: expected list of str, got str"),
        ("audio: {command: [sox, 16000]}", "1:24: audio.command[1]: expected str, got int 16000"),
        (
            "providers: [{name: pocketsphinx, adapt: 1}]",
            "1:41: providers[0].adapt: expected bool, got int 1; write true",
        ),
        (
            "providers: [{name: pocketsphinx, adapt: !!bool x}]",
            "1:41: providers[0].adapt: expected bool, got bool x",
        ),
        ('audio: {block_ms: !!int "\\e"}', "1:19: audio.block_ms: expected int, got int '\\x1b'"),
        ("audio: {first_block_s: 1e999}", "1:24: audio.first_block_s: expected float, got str '1"),
        (f"audio: {{block_ms: {'9' * 60}}}", "1:19: audio.block_ms: expected int, got int '999"),
        ("audio: {latency_ms: 1e999}", "1:21: audio.latency_ms: expected int, got str '1e999'"),
        ("audio: {first_block_s: .nan}", "1:24: audio.first_block_s: expected float, got float .n"),
        ("audio: {first_block_s: -.inf}", "1:24: audio.first_block_s: expected float, got float"),
        ("session: {hold_s: -1}", "1:19: session.hold_s: must be at least 0, got -1"),
        ("session: {hold_s: ever}", "1:19: session.hold_s: must be a number or auto, got 'ever'"),
        ("vad: {confirm: silreo}", "1:16: vad.confirm: must be auto, silero or none, got 'silreo'"),
        ("audio: [1]", "1:8: audio: expected mapping (key: value), got list"),
        ("audio: yes", "1:8: audio: expected mapping (key: value), got a single value"),
        ("- a", "1:1: the file: expected mapping (key: value), got list"),
        ("node:a", "1:1: the file: expected mapping (key: value), got a single value; a key is f"),
        ("sinks: [jsonl]", "1:8: sinks: expected mapping"),
        ("sinks: {jsonl: a.jsonl}", "1:16: sinks.jsonl: expected mapping"),
        ("providers: cloud", "1:12: providers: expected list"),
        ("providers: {name: cloud}", "1:12: providers: expected list"),
        ("providers: []", "1:12: providers: at least one is needed"),
        ("providers: [cloud]", "1:13: providers[0]: expected mapping; write - name:"),
        ("providers: [{}]", "1:13: providers[0]: a provider needs a name"),
        ("providers: [[cloud]]", "1:13: providers[0]: expected mapping; write - name:"),
        ("providers:\n-\n- {name: cloud}", "2:2: providers[0]: expected mapping"),
        ("providers: [{kind: cloud}]", "1:13: providers[0]: a provider needs a name"),
        ("providers: [{name: 7}]", "1:20: providers[0].name: expected str, got int 7"),
        ("providers: [{name: a b}]", "1:20: providers[0].name: a name is made of letters"),
        ("providers: [{name: a, kind: clowd}]", "1:29: providers[0].kind: no provider 'clowd'; di"),
    ],
)
def test_a_value_of_the_wrong_type_or_out_of_bounds_is_an_error(text: str, complaint: str) -> None:
    (found,) = complaints(text)
    assert found.startswith(complaint)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "providers: [{name: cloud, url: no}]",
            (
                "providers[0].url: expected str, got bool no; YAML reads it as false: "
                "write 'no' if the text is meant"
            ),
        ),
        (
            "node: On",
            (
                "node: expected str, got bool On; YAML reads it as true: "
                "write 'On' if the text is meant"
            ),
        ),
        ("node: 1:30", "node: expected str, got int 1:30; write '1:30' if the text is meant"),
        ("node: 007", "node: expected str, got int 007; write '007' if the text is meant"),
        (
            "audio: {latency_ms: 1:30}",
            (
                "audio.latency_ms: expected int, got int 1:30; "
                "YAML reads colons as base 60: write one plain number"
            ),
        ),
        (
            "audio: {latency_ms: 030}",
            (
                "audio.latency_ms: expected int, got int 030; "
                "YAML reads a leading zero as octal: write 30"
            ),
        ),
        (
            "audio: {first_block_s: 010}",
            (
                "audio.first_block_s: expected float, got int 010; "
                "YAML reads a leading zero as octal: write 10"
            ),
        ),
    ],
)
def test_what_yaml_reads_otherwise_than_people_do_is_an_error(text: str, complaint: str) -> None:
    (found,) = complaints(text)
    assert found.partition(": ")[2] == complaint


@pytest.mark.parametrize("key", ["api_key", "apiKey", "api-key", "token", "password", "auth_token"])
def test_a_secret_in_the_file_is_refused_and_not_repeated(key: str) -> None:
    (found,) = complaints(f"providers: [{{name: cloud, {key}: hunter2}}]")
    assert found.startswith(f"1:27: providers[0].{key}: a secret does not belong here; put it into")
    assert "_file" in found
    assert "hunter2" not in found


def test_the_key_that_takes_the_file_of_a_secret_is_named_where_there_is_one() -> None:
    (found,) = complaints("providers: [{name: cloud, api_key: hunter2}]")
    assert found.endswith("named by api_key_file")


@pytest.mark.parametrize("text", ["api_key_file: 1234", "pin: 1234"])
def test_a_value_that_may_be_a_secret_is_not_repeated_when_it_has_the_wrong_type(text: str) -> None:
    (found,) = complaints(f"providers: [{{name: cloud, {text}}}]")
    assert "expected str, got int" in found
    assert "1234" not in found


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("audio: {block_ms: 50}", "1:19: audio.block_ms: must be a multiple of 20, such as 40"),
        (
            "audio: {file: a.wav, command: [a]}",
            "1:31: audio.command: file and command exclude each other; keep one of them",
        ),
        ("audio: {command: []}", "1:18: audio.command: must name at least the program"),
        ("audio: {pace: fast}", "1:15: audio.pace: only a recording has a pace"),
        (
            "vad: {max_utterance_s: 10, hangover_ms: 10000}",
            (
                "1:24: vad.max_utterance_s: must be more than pre_roll_ms + min_speech_ms + "
                "hangover_ms, which is 10.52 s"
            ),
        ),
        (
            "vad: {max_utterance_s: 10, hangover_ms: 9480}",
            "1:24: vad.max_utterance_s: must be more than",
        ),
        ("node: a/b", "1:7: node: must not hold /, + or #"),
        ('node: "a\\nb"', "1:7: node: must be one line"),
        (
            "providers: [{name: pocketsphinx, phrases: [a], grammar: b}]",
            "1:57: providers[0].grammar: phrases and grammar exclude each other",
        ),
    ],
)
def test_keys_that_do_not_go_together_are_an_error(text: str, complaint: str) -> None:
    (found,) = complaints(text)
    assert found.startswith(complaint)


def test_what_concerns_a_key_that_is_not_written_is_told_of_its_section() -> None:
    text = "node: a\nvad: {hangover_ms: 10000, pre_roll_ms: 5000, min_speech_ms: 2000}\n"
    assert load_text(text).vad.max_utterance_s == 60
    (found,) = complaints("audio:\n  file: a.wav\n  command: []\n  pace: x")
    assert found.startswith("4:9: audio.pace: must be realtime or fast"), "no second guesses"


@pytest.mark.parametrize("tag", ["!secret", "!include", "!!python/name:os.system", "!!binary"])
def test_tags_are_not_obeyed(tag: str) -> None:
    (found,) = complaints(f"node: {tag} x")
    assert found == f"1:7: node: tags such as '{tag}' are not obeyed; write the value"


def test_what_no_file_name_can_hold_is_an_error() -> None:
    assert complaints('audio: {device: "a\\0b"}') == [
        "1:17: audio.device: must not hold the character U+0000"
    ]
    assert complaints('audio: {device: "\\uD800"}') == [
        "1:17: audio.device: must not hold the character U+D800"
    ]


@pytest.mark.parametrize(
    "text", ["vad: &a {<<: *a}", "vad: {<<: none}", "vad: {<<: [1]}", "vad: {<<: [[]]}"]
)
def test_a_merge_of_what_is_no_other_mapping_is_an_error(text: str) -> None:
    (found,) = complaints(text)
    assert found.endswith("vad: << takes another mapping")


class Broken(Registry):
    """A registry with a provider of somebody else's that cannot be imported."""

    def options(self, name: str) -> type | None:
        if name == "theirs":
            raise SttEdgeError("theirs cannot be\nimported.", "Install it again.")
        return super().options(name)


def test_a_provider_that_cannot_be_imported_is_a_problem_among_the_others() -> None:
    text = b"providers: [{name: theirs}]\nnode: 1\n"
    with pytest.raises(ConfigError) as caught:
        loads(text, PATH, Broken(), SINKS)
    first, second = map(str, caught.value.problems)
    assert first == (
        f"{PATH}:1:20: providers[0].name: theirs cannot be\\nimported. Install it again."
    )
    assert second.startswith(f"{PATH}:2:7: node: ")


def test_of_very_many_problems_the_first_are_told() -> None:
    found = complaints("".join(f"k{number}: 1\n" for number in range(500)))
    assert found[0].endswith("only the first 100 problems are shown")
    assert len(found) == 101
    assert found[-1].startswith("100:1: ")


def test_a_second_stage_that_is_not_installed_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stt_edge.config.settings.find_spec", lambda _: None)
    (complaint,) = complaints("vad: {confirm: silero}")
    assert complaint.endswith(
        'vad.confirm: silero is not installed: pip install "stt-edge[silero]", or write auto'
    )
    assert load_text("vad: {confirm: auto}").vad.confirm == "auto"
