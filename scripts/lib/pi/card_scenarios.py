"""Sound cards that come late, go, come back, change their number, or cannot do 16 kHz."""

from __future__ import annotations

import base64
import io
import itertools
import wave
from typing import Final

from scripts.lib.pi.house import LOOPBACK, SPEAKER, House
from scripts.lib.pi.room import CARD, PiRoom, expect, monotonic_s
from scripts.lib.pi.service_scenarios import nobody, quick_engine
from scripts.lib.room import DEVICE_BACK, DEVICE_LOST

AGAIN_S: Final = 3.0
_AWAY_S: Final = 8.0
"""Two seconds after a card has gone the service looks whether it is back, which takes an emulated
processor three more: plugged in meanwhile, it is found by the next look."""
_SAID_S: Final = 3.0
_LONG_AWAY_S: Final = 50.0
"""Longer than the watchdog's time, and past the look after 30 s."""
_DRIVER: Final = "/sys/bus/platform/drivers/snd_aloop"
_UNPLUG: Final = f"echo snd_aloop.0 > {_DRIVER}/unbind"
_PLUG_IN: Final = f"cut -d' ' -f1 /proc/uptime; echo snd_aloop.0 > {_DRIVER}/bind"
_UNPLUGGED: Final = f"[ ! -e {_DRIVER}/snd_aloop.0 ] && [ ! -e /proc/asound/{CARD} ]"
_HARDWARE: Final = f"/proc/asound/{CARD}/pcm1c/sub0/hw_params"
_FINGERPRINT_BYTES: Final = 128
_STEP_BYTES: Final = 640
_RUN_STEPS: Final = 25
# Silence at 48 kHz in two channels until /run/say is there, then what it names, then silence again.
_PLAYER_48K: Final = """\
{
    until [ -e /run/say ]; do head -c 19200 /dev/zero; done
    cat /srv/short.s48k
    while :; do head -c 19200 /dev/zero; done
} | aplay -q -D hw:CARD=Loopback,DEV=0 -t raw -f S16_LE -r 48000 -c 2
"""


def card_with_48_khz_stereo_only_is_heard(house: House) -> str:
    """The loopback offers nothing but what its other end plays: 48 kHz, two channels."""
    room = house.room()
    machine = room.machine
    machine.run("systemctl stop stt-edge; rm -f /run/say")
    player = machine.spawn(_PLAYER_48K)
    try:
        room.machine.run("sleep 2")
        refused = machine.run(
            f"timeout 5 arecord -q -D hw:CARD={CARD},DEV=1 -f S16_LE -r 16000 -c 1 -d 1 /dev/null",
            check=False,
        )
        room.restart(**quick_engine())
        hardware = _hardware(room)
        expect(hardware["rate"].startswith("48000"), f"the card runs at 48 kHz: {hardware}")
        expect(hardware["channels"] == "2", f"in two channels: {hardware}")
        before = len(room.records())
        machine.run("touch /run/say")
        record = room.wait_records(before)[0]
    finally:
        machine.run(f"kill -- -{player}; rm -f /run/say", check=False)
    expect(record["lost_ms"] == 0, f"nothing is lost, not {record['lost_ms']} ms{refused}")
    return f"48000 Hz, 2 channels at the card; heard {record['text']!r}"


def card_is_unplugged_and_plugged_in_again(house: House) -> str:
    """Three times in silence: heard again within 3 s, and what was missed is counted."""
    room = house.room()
    room.restart(**quick_engine())
    again_s, counted_s = [], []
    for _ in range(3):
        after_s, before = room.machine.uptime_s(), len(room.records())
        gone_s = room.machine.uptime_s()
        bound_s = _away(room, after_s, _AWAY_S)
        back_s = _back(room, after_s)
        again_s.append(back_s - bound_s)
        room.speak("short")
        record = room.wait_records(before)[0]
        counted_s.append(record["lost_ms"] / 1000)
        away_s = back_s - gone_s
        expect(
            abs(counted_s[-1] - away_s) < 2, f"{away_s:.1f} s are missing, {counted_s[-1]} counted"
        )
    expect(room.restarts() == 0, "the watchdog did not end it")
    expect(max(again_s) <= AGAIN_S, f"heard again within {AGAIN_S:.0f} s: {again_s}")
    return f"heard again after {_listed(again_s)} s; counted as missing: {_listed(counted_s)} s"


def card_is_unplugged_in_mid_utterance(house: House) -> str:
    """What was heard until then is transcribed, and marked; the next record counts the gap."""
    room = house.room()
    room.restart(**nobody())  # an engine at work would take the processor from the ear
    after_s, before = room.machine.uptime_s(), len(room.records())
    speaking = room.begin_to_speak("long")
    room.machine.wait_until(lambda: _said_s(room) >= _SAID_S, 30, "some seconds have been said")
    gone_s = room.machine.uptime_s()
    bound_s = _away(room, after_s, _AWAY_S)
    back_s = _back(room, after_s)
    room.wait_end(speaking)
    room.speak("short")
    _wait_silence(room, 2)
    again_s, away_s = back_s - bound_s, back_s - gone_s
    expect(room.restarts() == 0, "the watchdog did not end it")
    room.restart(**quick_engine())
    records = room.wait_records(before, 2, each_s=300)
    cut, later = sorted(records, key=lambda record: str(record["start"]))
    expect(cut["truncated"], "the record says that its end is missing")
    heard_s = cut["duration_ms"] / 1000
    expect(heard_s >= _SAID_S, f"what was heard is in it: {heard_s:.1f} s")
    lost_s = later["lost_ms"] / 1000
    expect(abs(lost_s - away_s) < 2, f"{away_s:.1f} s are missing, {lost_s:.1f} counted")
    expect(again_s <= AGAIN_S, f"heard again after {again_s:.1f} s")
    return (
        f"heard again after {again_s:.1f} s, {heard_s:.1f} s kept and marked truncated, "
        f"{lost_s:.1f} s counted as missing"
    )


def boots_without_a_card_and_one_comes_later(house: House) -> str:
    """No sound module at all at the boot: the service runs, says so, and hears when one comes."""
    with house.boot(house.disk(), arguments="modprobe.blacklist=snd_aloop") as room:
        room.machine.wait_until(lambda: room.show("ActiveState") == "active", 120, "it is active")
        expect(room.show("StatusText").startswith("absent"), f"says: {room.show('StatusText')}")
        room.machine.pause(_LONG_AWAY_S)
        expect(room.restarts() == 0, "it is not restarted for want of a card")
        after_s = room.machine.uptime_s()
        came_s = float(
            room.machine.run(
                "cut -d' ' -f1 /proc/uptime; modprobe snd-aloop pcm_substreams=1"
            ).split()[0]
        )
        heard_s = _back(room, after_s) - came_s
        room.machine.run("aplay -q -D plughw:CARD=Loopback,DEV=1 /srv/short.wav")
        text = room.wait_records(0, each_s=300)[0]["text"]
        expect(heard_s <= AGAIN_S, f"heard within {AGAIN_S:.0f} s, not {heard_s:.1f}")
    return f"heard {heard_s:.1f} s after modprobe: {text!r}"


def first_card_only_plays(house: House) -> str:
    """Card 0 is a USB loudspeaker; "auto" finds the microphone on card 1 by itself."""
    arguments = f"{LOOPBACK} snd_aloop.index=1 snd_usb_audio.index=0"
    with house.boot(house.disk(), arguments=arguments, devices=(SPEAKER,)) as room:
        cards = room.machine.run("cat /proc/asound/cards; ls /sys/class/sound")
        expect("pcmC0D0p" in cards and "pcmC0D0c" not in cards, f"card 0 only plays: {cards}")
        expect("pcmC1D0c" in cards, f"card 1 captures: {cards}")
        room.wait_hearing(120)
        room.machine.run("aplay -q -D plughw:CARD=Loopback,DEV=1 /srv/short.wav")
        text = room.wait_records(0, each_s=300)[0]["text"]
        device = room.status()["ear"]["device"]
    return f"heard {text!r} from {device}; {cards.splitlines()[0].strip()}"


def card_that_changed_its_number_is_found(house: House) -> str:
    """Configured by its id, it is heard as card 0 at one boot and as card 1 at the next."""
    disk = house.disk()
    numbers: list[str] = []
    texts: list[str] = []
    for number, other in ((0, 1), (1, 0)):
        arguments = f"{LOOPBACK} snd_aloop.index={number} snd_usb_audio.index={other}"
        with house.boot(disk, arguments=arguments, devices=(SPEAKER,)) as room:
            if not numbers:
                room.configure(audio={"device": CARD}, **quick_engine())
                room.machine.run("systemctl restart stt-edge", timeout_s=90)
            room.wait_hearing(120)
            numbers.append(room.machine.run(f"readlink /proc/asound/{CARD}").strip())
            before = len(room.records())
            room.machine.run("aplay -q -D plughw:CARD=Loopback,DEV=1 /srv/short.wav")
            texts.append(room.wait_records(before)[0]["text"])
    expect(numbers == ["card0", "card1"], f"card 0, then card 1: {numbers}")
    return f"{numbers[0]}, then {numbers[1]}: heard {texts[0]!r}, {texts[1]!r}"


def stopped_ear_loses_what_is_counted(house: House) -> str:
    """An ear stopped beyond the buffer counts what is missing; one that stays stopped is ended."""
    room = house.room()
    room.restart(**nobody())
    hardware = _hardware(room)
    buffer_s = int(hardware["buffer_size"]) / int(hardware["rate"].split()[0])
    stop_s = round(buffer_s + 0.7, 1)
    short_ms, wrong = _stopped(room, "ear", stop_s)
    least_ms, most_ms = (stop_s - buffer_s - 0.1) * 1000, (stop_s + 0.5) * 1000
    expect(least_ms <= short_ms <= most_ms, f"{least_ms:.0f} to {most_ms:.0f} ms, not {short_ms}")
    expect(wrong == 0, f"what is missing is what is counted, but for {wrong} samples")
    before, after_s = len(room.spool()), room.machine.uptime_s()
    speaking = room.begin_to_speak("long")
    room.machine.wait_until(lambda: len(room.spool()) > before, 30, "the utterance has begun")
    pid = room.status()["ear"]["pid"]
    room.machine.run(f"kill -STOP {pid}")
    stopped_s = room.machine.uptime_s()
    back_s = _back(room, after_s)
    room.wait_end(speaking)
    expect(room.status()["ear"]["pid"] != pid, "it is another ear")
    expect(room.restarts() == 0, "main went on")
    return (
        f"stopped for {stop_s} s, buffer {buffer_s:.2f} s: {short_ms} ms counted, off by {wrong} "
        f"samples; stopped for good: heard again by another ear after {back_s - stopped_s:.1f} s"
    )


def stopped_main_loses_nothing(house: House) -> str:
    """Main stopped for 3 s while somebody speaks: every sample is there."""
    room = house.room()
    room.restart(**nobody())
    lost_ms, wrong = _stopped(room, "main", 3)
    expect((lost_ms, wrong) == (0, 0), f"{lost_ms} ms counted as lost, {wrong} samples wrong")
    return "0 ms lost, every sample in its place"


def _hardware(room: PiRoom) -> dict[str, str]:
    """Return what the card was opened with."""
    lines = room.machine.run(f"cat {_HARDWARE}").splitlines()
    return dict(line.split(": ", 1) for line in lines)


def _stopped(room: PiRoom, which: str, seconds: float) -> tuple[int, int]:
    """Stop a process while somebody speaks; return the ms counted, and samples wrongly counted."""
    before, lost_ms = len(room.spool()), room.status()["ear"]["lost_ms"]
    pid = room.status()["ear"]["pid"] if which == "ear" else int(room.show("MainPID"))
    speaking = room.begin_to_speak("long")
    room.machine.run(f"sleep 6; kill -STOP {pid}; sleep {seconds}; kill -CONT {pid}")
    room.wait_end(speaking)
    _wait_silence(room, before + 1)
    source = _pcm(room, "/srv/long.wav")
    wrong = sum(_misplaced(_heard(room, each["id"]), source) for each in room.spool()[before:])
    return room.status()["ear"]["lost_ms"] - lost_ms, wrong


def _said_s(room: PiRoom) -> float:
    """Return how long what waits for its transcript is, as far as it has been heard."""
    return sum(float(each["seconds"]) for each in room.spool())


def _wait_silence(room: PiRoom, waiting: int) -> None:
    """Wait until so many utterances wait, or more, and nobody speaks."""
    room.machine.wait_until(
        lambda: len(room.spool()) >= waiting and not room.status()["speech"]["open"],
        60,
        f"{waiting} utterances wait",
    )


def _heard(room: PiRoom, utterance_id: str) -> bytes:
    """Return the audio of an utterance; what is counted as missing is silence in it."""
    export = f"rm -rf /run/heard; stt-edge spool export -o /run/heard {utterance_id}"
    return _pcm(room, room.machine.run(export).strip())


def _pcm(room: PiRoom, path: str) -> bytes:
    data = base64.b64decode(room.machine.run(f"base64 -w 0 {path}"))
    with wave.open(io.BytesIO(data)) as file:
        frames: bytes = file.readframes(file.getnframes())
    return frames


def _misplaced(heard: bytes, source: bytes) -> int:
    """Return how many samples of a recording are missing, or too many, somewhere in it.

    The edge of a gap is known to a block, and the card plays the end of a recording again when
    the player has ended: what is shorter than half a second is not looked at.
    """
    shifts = []
    for at in range(0, len(heard) - _FINGERPRINT_BYTES, _STEP_BYTES):
        part = heard[at : at + _FINGERPRINT_BYTES]
        if source.count(part) == 1 and len(set(part)) > 20:
            shifts.append((source.find(part) - at) // 2)
    expect(len(shifts) > 10, f"what was played is recognised: {len(shifts)} places")
    runs = [(shift, sum(1 for _ in same)) for shift, same in itertools.groupby(shifts)]
    long = [shift for shift, count in runs if count >= _RUN_STEPS]
    return sum(abs(after - before) for before, after in itertools.pairwise(long))


def _away(room: PiRoom, after_s: float, seconds: float) -> float:
    """Unplug the card, wait, plug it in; return when that was, in seconds of the machine."""
    room.machine.spawn(_UNPLUG)  # the driver waits until nobody has the card open
    room.wait_entry(DEVICE_LOST, after_s)
    room.machine.wait_until(
        lambda: room.machine.run(f"{_UNPLUGGED} && echo gone", check=False) != "", 30, "it is gone"
    )
    room.machine.pause(seconds)
    return float(room.machine.run(_PLUG_IN).split()[0])


def _back(room: PiRoom, after_s: float) -> float:
    """Wait until the journal says that it hears again; return when that was.

    Asking takes the processor from the one that is asked about, so that is not done at first.
    """
    room.machine.pause(AGAIN_S + 1)
    return monotonic_s(room.wait_entry(DEVICE_BACK, after_s))


def _listed(values: list[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)
