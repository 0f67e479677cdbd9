"""A real ALSA microphone without hardware: a private PulseAudio whose null sink is heard as `mic`.

    with PulseMicrophone(tmp_path) as mic:
        subprocess.Popen([...], env=mic.environment)  # ALSA device "mic"
        mic.play(wav)            # speaks into it and waits until it has been said
        mic.start_playing(wav)   # the same, without waiting; returns the process
        mic.suspend()            # deaf: streams stay open and nothing comes
        mic.resume()
        mic.end()                # unplugged: the server is gone
        mic.start()              # plugged in again, under the same name

Nothing outside ``tmp_path`` is touched and only what was started here is ended. Works as root.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

SINK: Final = "mic"
"""The name of the null sink, and of the ALSA device that hears it."""

_PROGRAMS: Final = ("pulseaudio", "paplay", "pactl")
_ALSA_CONFIG: Final = Path("/usr/share/alsa/alsa.conf")
_START_S: Final = 10.0


def is_possible() -> bool:
    """Return whether everything that a PulseMicrophone needs is installed."""
    return all(map(shutil.which, _PROGRAMS)) and _ALSA_CONFIG.is_file()


class PulseMicrophone:
    """A PulseAudio server of one's own; a context manager that starts and ends it."""

    def __init__(self, directory: Path, *, rate: int = 16_000, channels: int = 1) -> None:
        """Write what the server and ALSA need under ``directory``; start nothing yet.

        ``rate`` and ``channels`` are the null sink's own, in hertz and number.
        """
        self._runtime = directory / "pulse-run"
        self._runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._script = directory / "pulse.pa"
        self._script.write_text(
            f"load-module module-null-sink sink_name={SINK} rate={rate} channels={channels} "
            "format=s16le\nload-module module-native-protocol-unix\n"
        )
        self._asound = directory / "asound.conf"
        self._asound.write_text(
            f"<{_ALSA_CONFIG}>\n"
            f"pcm.{SINK} {{ type pulse device {SINK}.monitor "
            'hint { show on description "A null sink" } }\n'
            f"ctl.{SINK} {{ type pulse }}\n"
        )
        self._log = directory / "pulse.log"
        self._server: subprocess.Popen[bytes] | None = None
        self._players: list[subprocess.Popen[bytes]] = []

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment variables that lead a program to this microphone."""
        return {
            "XDG_RUNTIME_DIR": str(self._runtime),
            "ALSA_CONFIG_PATH": str(self._asound),
            "PULSE_RUNTIME_PATH": str(self._runtime / "pulse"),
        }

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment with ``variables`` set, for ``subprocess``."""
        return {
            name: value for name, value in os.environ.items() if not name.startswith("PULSE_")
        } | dict(self.variables)

    def start(self) -> None:
        """Start the server and wait until the sink is there."""
        assert self._server is None, "already running"
        with self._log.open("ab") as log:
            self._server = subprocess.Popen(
                [
                    "pulseaudio",
                    "--daemonize=no",
                    "--exit-idle-time=-1",
                    "--disallow-exit",
                    "--disable-shm",
                    "--log-target=stderr",
                    *("-n", "-F", str(self._script)),
                ],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START_S
        while SINK not in self._pactl("list", "short", "sinks", check=False):
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"pulseaudio did not start: {self._log.read_text()}")
            time.sleep(0.05)

    def end(self) -> None:
        """End the server, as pulling the plug would; a player of ours ends with it."""
        if self._server is not None:
            _end(self._server, signal.SIGKILL)
            self._server = None
        for player in self._players:
            _end(player, signal.SIGKILL)
        self._players.clear()
        # The socket and pid file of a killed server would keep the next one from starting.
        shutil.rmtree(self._runtime / "pulse", ignore_errors=True)

    def play(self, wav: Path) -> None:
        """Speak a recording into the microphone and return when it has been said."""
        player = self.start_playing(wav)
        if code := player.wait():
            raise RuntimeError(f"paplay {wav}: exit {code}")

    def start_playing(self, wav: Path) -> subprocess.Popen[bytes]:
        """Start to speak a recording into the microphone; return the process that does it."""
        self._players = [player for player in self._players if player.poll() is None]
        self._players.append(
            subprocess.Popen(
                ["paplay", "--device", SINK, str(wav)],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        )
        return self._players[-1]

    def suspend(self) -> None:
        """Make the microphone deaf: streams stay open and nothing comes."""
        self._pactl("suspend-sink", SINK, "1")

    def resume(self) -> None:
        """Let it hear again."""
        self._pactl("suspend-sink", SINK, "0")

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the server and every player."""
        self.end()

    def _pactl(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            ["pactl", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_START_S,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"pactl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout


def _end(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(how)
    process.wait()
