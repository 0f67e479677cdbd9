"""The parts of the manual pages that people write: read ``manual.py`` first."""

from __future__ import annotations

from typing import Final

DESCRIPTION: Final = """\
**stt-edge** listens to a microphone all day at almost no cost, opens a speech-to-text session only
while somebody speaks, and turns each utterance into one record: an entry in the systemd journal, a
line in a JSONL file, and what else the configuration names.

Installed as a package it runs as the service _stt-edge.service_, configured by
_/etc/stt-edge.yaml_; every command below but **run** is meant for a person. Results go to standard
output, everything else to standard error. What **--json** prints is a contract: fields are added,
never changed.
"""

AFTER_COMMANDS: Final = (
    (
        "The service",
        """\
The service reads its configuration at the start, and again at **systemctl reload stt-edge**. A
mistake in the file leaves the configuration before it in force; only a start with a wrong file
fails, with exit code 78, and is not tried again.

    systemctl status stt-edge          what it is doing, in one line
    journalctl -u stt-edge -f          what is said, as it is said
    stt-edge check-config              whether the configuration is right
    systemctl reload stt-edge          take it up

With several microphones run one instance for each: **systemctl enable --now stt-edge@kitchen**
reads _/etc/stt-edge/kitchen.yaml_ and has directories of its own, ending in -kitchen.
""",
    ),
    (
        "Files",
        """\
_/etc/stt-edge.yaml_, _/etc/stt-edge/INSTANCE.yaml_: the configuration, see stt-edge.yaml(5).

_/etc/stt-edge/credentials/_: keys of providers, a file each, readable by the group stt-edge.

_/var/log/stt-edge/transcripts.jsonl_: the records, readable by the group adm.

_/var/lib/stt-edge/_: the store, and audio that waits for its transcript.

_/run/stt-edge/_: the control socket, for the group stt-edge, and audio of the moment.
""",
    ),
    (
        "Environment",
        """\
**RUNTIME_DIRECTORY**, **STATE_DIRECTORY**, **LOGS_DIRECTORY**, as systemd sets them, say where
**stt-edge run** keeps its things; without them the XDG directories of the user are used.
**NO_COLOR** turns colours off.
""",
    ),
)

EXIT_CODES: Final = (
    ("**0**", "Everything went well."),
    ("**1**", "A check failed, or a file could not be worked on."),
    ("**2**", "The command line is wrong."),
    ("**69**", "Something needed is not there: a device, a daemon, a package."),
    ("**75**", "Not now; try again later."),
    ("**77**", "Permission denied, by the system or by a provider."),
    (
        "**78**",
        "The configuration is wrong, or the store was written by a later version of the program.",
    ),
)

SEE_ALSO: Final = """\
**stt-edge.yaml**(5), **stt-edge-extra**(8), **journalctl**(1), **systemctl**(1),
**systemd.exec**(5); _/usr/share/doc/stt-edge/_
"""

CONFIGURATION: Final = """\
The file is YAML. Every key has a default, and may be left out, and so may the file. Unknown keys
are mistakes. File names that do not begin with / count from the directory of the file. Keys of
providers do not belong in this file: each is in a file of its own.

After a change: **stt-edge check-config**, which reports every mistake with its line and column,
then **systemctl reload stt-edge**.
"""

PROVIDERS: Final = """\
**providers:** is a list, tried in its order. Each item has a **name**, which is what records call
it, and a **kind**, one of those below; the kind may be left out where the name is one. The other
keys are those of the kind.

    providers:
      - name: deepgram
        api_key_file: /etc/stt-edge/credentials/deepgram
      - name: pocketsphinx

Some need packages that do not come along: **stt-edge providers** tells which, **stt-edge-extra**(8)
installs them.
"""

SINKS: Final = """\
**sinks:** is a mapping of names to keys. A sink that is named, even with nothing behind it, is on,
and all others are off. Without the mapping journal and jsonl are on under systemd, stdout and jsonl
elsewhere.
"""

CONFIGURATION_FILES: Final = (
    ("_/etc/stt-edge.yaml_", "The configuration of stt-edge.service and of commands."),
    ("_/etc/stt-edge/INSTANCE.yaml_", "That of stt-edge@INSTANCE.service."),
    ("_/etc/stt-edge/credentials/_", "Keys: files of mode 0640, group stt-edge."),
)

CONFIGURATION_SEE_ALSO: Final = "**stt-edge**(1), **stt-edge-extra**(8)"
