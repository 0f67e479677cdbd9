"""What Google Speech v1 is asked over REST, and the options that shape it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from stt_edge.config.schema import option
from stt_edge.frozen import frozen
from stt_edge.providers.base import HttpRequest
from stt_edge.providers.google_auth import GoogleOptions

_SLOWER: Final = 1.5
_SLOWEST_S: Final = 20.0


@frozen
class Options(GoogleOptions):
    """The keys of a provider of this kind."""

    language: str = option("en-US", doc="what is spoken, as BCP 47 has it")
    alternative_languages: tuple[str, ...] = option((), doc="others that may be spoken, up to 3")
    model: str | None = option(None, doc="such as latest_long; null leaves it to the service")
    method: str = option(
        "longrunning",
        doc="longrunning, recognize (answers at once, no job) or auto (recognize up to 15 s)",
        choices=("auto", "recognize", "longrunning"),
    )
    punctuation: bool = option(True, doc="full stops, commas and capitals")
    spoken_punctuation: bool = option(False, doc="write a mark where its name is said")
    profanity_filter: bool = option(False, doc="write only the first letter of bad words")
    enhanced: bool = option(False, doc="the enhanced variant of the model, at its price")
    phrases: tuple[str, ...] = option((), doc="words and phrases to expect")
    phrases_boost: float | None = option(
        None, minimum=0, maximum=20, doc="how strongly to expect them"
    )
    poll_s: float = option(1.0, minimum=0.05, maximum=20, doc="until a job is first asked for")
    storage_url: str | None = option(
        None, doc="where the object storage is, in place of the usual endpoint"
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong beyond the bounds of each key."""
        yield from GoogleOptions.problems(self)
        if not self.language:
            yield "language", "is needed, such as en-US"
        if len(self.alternative_languages) > 3:
            yield "alternative_languages", "are 3 at the most"
        if self.phrases_boost is not None and not self.phrases:
            yield "phrases_boost", "is for phrases, and there are none"


def recognition_config(options: Options) -> dict[str, Any]:
    """Return a RecognitionConfig without the encoding (cloud_speech.proto, v1)."""
    config: dict[str, Any] = {
        "languageCode": options.language,
        "maxAlternatives": 1,
        "enableWordTimeOffsets": True,
        "enableWordConfidence": True,
        "enableAutomaticPunctuation": options.punctuation,
        "profanityFilter": options.profanity_filter,
    }
    if options.alternative_languages:
        config["alternativeLanguageCodes"] = list(options.alternative_languages)
    if options.model is not None:
        config["model"] = options.model
    if options.spoken_punctuation:
        config["enableSpokenPunctuation"] = True
    if options.enhanced:
        config["useEnhanced"] = True
    if options.phrases:
        context: dict[str, Any] = {"phrases": list(options.phrases)}
        if options.phrases_boost is not None:
            context["boost"] = options.phrases_boost
        config["speechContexts"] = [context]
    return config


def submission(
    config: Mapping[str, Any], audio: Mapping[str, str], *, method: str = "longrunningrecognize"
) -> HttpRequest:
    """Return the request that has audio recognised: ``content`` in base64, or ``uri``."""
    body = json.dumps({"config": config, "audio": audio}).encode()
    return HttpRequest("POST", f"/v1/speech:{method}", {"Content-Type": "application/json"}, body)


def question(operation: str, delay_s: float) -> HttpRequest:
    """Return the request that asks for an operation."""
    return HttpRequest("GET", f"/v1/operations/{quote(operation, safe='')}", delay_s=delay_s)


def next_delay_s(delay_s: float) -> float:
    """Return how long to wait after ``delay_s`` until an operation is asked for again."""
    return max(delay_s, min(delay_s * _SLOWER, _SLOWEST_S))
