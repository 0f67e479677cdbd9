"""The messages of Google's StreamingRecognize, v1 and v2: how to write them and what they say.

Both are the same conversation in other words (google/cloud/speech/v1 and v2, cloud_speech.proto),
so ``Wire`` hides which is spoken. The package google-cloud-speech is imported by ``load``, which
takes seconds on a small machine: in a thread, before anything else is asked of it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any, Final

from stt_edge.frozen import frozen
from stt_edge.model import SAMPLE_RATE
from stt_edge.providers.base import WordOffset
from stt_edge.providers.json_fields import MalformedError, seconds_to_samples

_MOST_RESULTS: Final = 1000
_MOST_WORDS: Final = 20_000


@frozen
class Wanted:
    """What is asked of the service, in the words of neither version."""

    languages: tuple[str, ...] = ("en-US",)
    """The first is spoken, the others may be."""
    recognizer: str = ""
    """``projects/P/locations/L/recognizers/R``, v2 only."""
    model: str | None = None
    phrases: tuple[str, ...] = ()
    phrase_boost: float | None = None
    punctuation: bool = True
    profanity_filter: bool = False
    interim_results: bool = True
    word_times: bool = True
    word_confidence: bool = False
    enhanced: bool = False
    """v1 only."""


@frozen
class Result:
    """A portion of the audio, understood for good or for now."""

    text: str
    final: bool
    end: int | None
    """Samples since the beginning of the stream."""
    words: tuple[WordOffset, ...] = ()
    confidence: float | None = None
    language: str | None = None


@frozen
class Heard:
    """What one response says."""

    results: tuple[Result, ...] = ()
    error: tuple[int, str] | None = None
    """A gRPC status and its text; v1 only."""
    billed_s: float | None = None
    """Audio billed, in the last response of a stream."""


@frozen
class _Names:
    """What v1 calls a time, v2 calls an offset."""

    package: str
    audio: str
    result_end: str
    word_start: str
    word_end: str


_NAMES: Final = {
    "v1": _Names(
        "google.cloud.speech_v1", "audio_content", "result_end_time", "start_time", "end_time"
    ),
    "v2": _Names(
        "google.cloud.speech_v2", "audio", "result_end_offset", "start_offset", "end_offset"
    ),
}


class Wire:
    """Writes and reads the messages of one version, ``v1`` or ``v2``."""

    def __init__(self, api: str, wanted: Wanted) -> None:
        """Import nothing yet."""
        self.method = f"/google.cloud.speech.{api}.Speech/StreamingRecognize"
        self.package = _NAMES[api].package
        self._api = api
        self._names = _NAMES[api]
        self._wanted = wanted

    def load(self) -> None:
        """Import the package."""
        importlib.import_module(self.package)

    def configuration(self) -> bytes:
        """Return the first message of a stream."""
        speech = importlib.import_module(self.package)
        make = _configuration_v1 if self._api == "v1" else _configuration_v2
        request = make(speech, self._wanted)
        return bytes(speech.StreamingRecognizeRequest.serialize(request))

    def audio(self, pcm: bytes) -> bytes:
        """Return a message with 16 kHz mono s16le, at most 15 000 bytes."""
        speech = importlib.import_module(self.package)
        request = speech.StreamingRecognizeRequest.pb()(**{self._names.audio: pcm})
        return bytes(request.SerializeToString())

    def hear(self, message: bytes) -> Heard:
        """Return what a response says. Raises MalformedError."""
        from google.protobuf.message import DecodeError

        speech = importlib.import_module(self.package)
        try:
            response = speech.StreamingRecognizeResponse.pb().FromString(message)
        except DecodeError:
            raise MalformedError("no StreamingRecognizeResponse") from None
        if len(response.results) > _MOST_RESULTS:
            raise MalformedError("too many results")
        return Heard(
            tuple(_results(response.results, self._names)), _error(response), _billed_s(response)
        )


def _configuration_v1(speech: Any, wanted: Wanted) -> Any:
    language, *others = wanted.languages
    config = speech.RecognitionConfig(
        encoding=speech.RecognitionConfig.AudioEncoding.LINEAR16,
        sample_rate_hertz=SAMPLE_RATE,
        audio_channel_count=1,
        language_code=language,
        alternative_language_codes=others,
        model=wanted.model or "",
        use_enhanced=wanted.enhanced,
        profanity_filter=wanted.profanity_filter,
        enable_automatic_punctuation=wanted.punctuation,
        enable_word_time_offsets=wanted.word_times,
        enable_word_confidence=wanted.word_confidence,
    )
    if wanted.phrases:
        context = speech.SpeechContext(phrases=wanted.phrases, boost=wanted.phrase_boost or 0.0)
        config.speech_contexts = [context]
    return speech.StreamingRecognizeRequest(
        streaming_config=speech.StreamingRecognitionConfig(
            config=config, interim_results=wanted.interim_results
        )
    )


def _configuration_v2(speech: Any, wanted: Wanted) -> Any:
    config = speech.RecognitionConfig(
        explicit_decoding_config=speech.ExplicitDecodingConfig(
            encoding=speech.ExplicitDecodingConfig.AudioEncoding.LINEAR16,
            sample_rate_hertz=SAMPLE_RATE,
            audio_channel_count=1,
        ),
        model=wanted.model or "",
        language_codes=wanted.languages,
        features=speech.RecognitionFeatures(
            profanity_filter=wanted.profanity_filter,
            enable_automatic_punctuation=wanted.punctuation,
            enable_word_time_offsets=wanted.word_times,
            enable_word_confidence=wanted.word_confidence,
        ),
    )
    if wanted.phrases:
        config.adaptation = _adaptation_v2(speech, wanted)
    return speech.StreamingRecognizeRequest(
        recognizer=wanted.recognizer,
        streaming_config=speech.StreamingRecognitionConfig(
            config=config,
            streaming_features=speech.StreamingRecognitionFeatures(
                interim_results=wanted.interim_results
            ),
        ),
    )


def _adaptation_v2(speech: Any, wanted: Wanted) -> Any:
    boost = wanted.phrase_boost or 0.0
    phrases = [speech.PhraseSet.Phrase(value=phrase, boost=boost) for phrase in wanted.phrases]
    inline = speech.SpeechAdaptation.AdaptationPhraseSet(
        inline_phrase_set=speech.PhraseSet(phrases=phrases)
    )
    return speech.SpeechAdaptation(phrase_sets=[inline])


def _results(results: Iterable[Any], names: _Names) -> Iterable[Result]:
    for result in results:
        if not result.alternatives:
            continue
        best = result.alternatives[0]
        yield Result(
            text=best.transcript,
            final=result.is_final,
            end=_samples(result, names.result_end),
            words=_words(best.words, names),
            confidence=_share(best.confidence),
            language=result.language_code or None,
        )


def _words(words: Any, names: _Names) -> tuple[WordOffset, ...]:
    """Return the words, or none where the model gives no times: then they all end at 0."""
    if len(words) > _MOST_WORDS:
        raise MalformedError("too many words")
    found: list[WordOffset] = []
    for word in words:
        start = _samples(word, names.word_start) or 0
        end = _samples(word, names.word_end) or 0
        found.append(WordOffset(word.word, start, max(start, end), _share(word.confidence)))
    return tuple(found) if any(word.end for word in found) else ()


def _error(response: Any) -> tuple[int, str] | None:
    error = getattr(response, "error", None)
    return (error.code, error.message) if error is not None and error.code else None


def _billed_s(response: Any) -> float | None:
    owner, name = response, "total_billed_time"
    if not hasattr(response, name):
        owner, name = response.metadata, "total_billed_duration"
    return _seconds(owner, name)


def _samples(owner: Any, name: str) -> int | None:
    return seconds_to_samples(_seconds(owner, name))


def _seconds(owner: Any, name: str) -> float | None:
    """Return a ``google.protobuf.Duration``, None where there is none."""
    if not owner.HasField(name):
        return None
    duration = getattr(owner, name)
    return float(duration.seconds + duration.nanos / 1e9)


def _share(value: float) -> float | None:
    """Return a confidence; 0 means that there is none (cloud_speech.proto)."""
    return round(value, 4) if 0 < value <= 1 else None
