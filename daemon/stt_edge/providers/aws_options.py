"""What can be configured of Amazon Transcribe, and the parameters it becomes.

Names and values are those of the request (Amazon Transcribe API, StartStreamTranscription).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stt_edge.config.schema import option
from stt_edge.frozen import frozen
from stt_edge.model import SAMPLE_RATE
from stt_edge.providers.options import NetworkOptions


@frozen
class Options(NetworkOptions):
    """The keys of a provider of this kind."""

    region: str | None = option(
        None, doc="such as eu-west-1; when not given, as AWS_DEFAULT_REGION or the profile says"
    )
    credentials_file: str | None = option(
        None,
        doc="file with the access key, written as ~/.aws/credentials is, or name of a systemd "
        "credential; when not given, wherever AWS programs look",
    )
    profile: str | None = option(None, doc="section of that file, or profile of ~/.aws/config")
    language: str | None = option(
        None, doc="such as de-DE; en-US unless languages are to be identified"
    )
    identify_language: bool = option(False, doc="find out which of language_options is spoken")
    identify_multiple_languages: bool = option(
        False, doc="the same, where it may change in the middle"
    )
    language_options: tuple[str, ...] = option((), doc="two or more languages to choose from")
    preferred_language: str | None = option(None, doc="the likeliest of language_options")
    vocabulary_name: str | None = option(
        None, doc="custom vocabulary; separated by commas, one for each of language_options"
    )
    vocabulary_filter_name: str | None = option(
        None, doc="vocabulary filter; separated by commas, one for each of language_options"
    )
    vocabulary_filter_method: str | None = option(
        None, choices=("remove", "mask", "tag"), doc="what happens to words of the filter"
    )
    language_model_name: str | None = option(None, doc="custom language model")
    partial_results_stability: str | None = option(
        None, choices=("high", "medium", "low"), doc="change partial results less and less early"
    )
    content_redaction: bool = option(False, doc="replace personal information by [PII]")
    pii_entity_types: tuple[str, ...] = option(
        (), doc="what counts as personal, such as NAME and PHONE; all of it when not given"
    )
    transcript_format: str | None = option(
        None, choices=("WRITTEN", "SPOKEN"), doc="numbers as they are written, or as spoken"
    )

    @property
    def identifies(self) -> bool:
        """Whether the service finds out which language is spoken."""
        return self.identify_language or self.identify_multiple_languages

    @property
    def language_code(self) -> str | None:
        """The language that is expected, if it is a certain one."""
        return None if self.identifies else self.language or "en-US"

    def problems(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong with the values together: pairs of a key and a message."""
        if self.region is not None and not re.fullmatch(r"[a-z0-9-]+", self.region):
            yield "region", "is no region of AWS; they look like eu-west-1"
        if self.identify_language and self.identify_multiple_languages:
            yield "identify_multiple_languages", "give it or identify_language, not both"
        if self.identifies and self.language is not None:
            yield "language", "is to be identified; give preferred_language in its place"
        if self.identifies and len(self.language_options) < 2:
            yield "language_options", "two or more are needed to choose from"
        if self.language_options and not self.identifies:
            yield "language_options", "needs identify_language or identify_multiple_languages"
        if self.preferred_language not in (None, *self.language_options):
            yield "preferred_language", "must be one of language_options"
        if self.pii_entity_types and not self.content_redaction:
            yield "pii_entity_types", "needs content_redaction"
        for key in ("language", "preferred_language"):
            if "-" not in (getattr(self, key) or "-"):
                yield key, "needs a country too, such as en-US"

    def parameters(self) -> dict[str, str]:
        """Return the parameters of the request, as its URL has them."""
        plural = "s" if self.identifies else ""
        stability = self.partial_results_stability
        given = {
            "language-code": self.language_code,
            "identify-language": _true(self.identify_language),
            "identify-multiple-languages": _true(self.identify_multiple_languages),
            "language-options": ",".join(self.language_options),
            "preferred-language": self.preferred_language,
            "media-encoding": "pcm",
            "sample-rate": str(SAMPLE_RATE),
            f"vocabulary-name{plural}": self.vocabulary_name,
            f"vocabulary-filter-name{plural}": self.vocabulary_filter_name,
            "vocabulary-filter-method": self.vocabulary_filter_method,
            "language-model-name": self.language_model_name,
            "enable-partial-results-stabilization": _true(stability is not None),
            "partial-results-stability": stability,
            "content-redaction-type": "PII" if self.content_redaction else None,
            "pii-entity-types": ",".join(self.pii_entity_types),
            "transcript-format": self.transcript_format,
        }
        return {name: value for name, value in given.items() if value}


def _true(wanted: bool) -> str | None:
    return "true" if wanted else None
