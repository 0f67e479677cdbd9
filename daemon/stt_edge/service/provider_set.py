"""The providers of a configuration, built; and what it says of sessions."""

from __future__ import annotations

from collections.abc import Sequence

from stt_edge.config.settings import Config, ProviderEntry
from stt_edge.errors import ConfigError, ConfigProblem, SttEdgeError
from stt_edge.providers import registry
from stt_edge.providers.base import Provider
from stt_edge.session.budget import Budget
from stt_edge.session.chain import SessionRules

Prepared = Sequence[tuple[ProviderEntry, Provider]]
"""The providers of a configuration, built and not yet in use."""


class ProviderSet:
    """The providers in use, in their order, and which entry of the file each was built from."""

    def __init__(self) -> None:
        """Begin with none."""
        self._built: Prepared = ()

    @property
    def providers(self) -> list[Provider]:
        """Return the providers in the order of the configuration."""
        return [provider for _, provider in self._built]

    def apply(self, config: Config) -> list[Provider]:
        """Build what is new in a configuration; returns the providers that are no longer wanted.

        Raises SttEdgeError, and then everything stays as it was.
        """
        return self.adopt(self.prepare(config))

    def prepare(self, config: Config) -> Prepared:
        """Build what is new in a configuration, and change nothing. Raises SttEdgeError."""
        if not config.providers:
            raise SttEdgeError("There is no provider.", "Name one under providers: in the file.")
        known = {entry.name: (entry, provider) for entry, provider in self._built}
        wanted: list[tuple[ProviderEntry, Provider]] = []
        for entry in config.providers:
            before, provider = known.get(entry.name, (None, None))
            if provider is None or before != entry:
                provider = registry.build(entry.name, entry.kind, entry.options)
            wanted.append((entry, provider))
        _check_lengths(config, [provider for _, provider in wanted])
        return wanted

    def adopt(self, prepared: Prepared) -> list[Provider]:
        """Use what was prepared; returns the providers that are no longer wanted."""
        kept = {id(provider) for _, provider in prepared}
        replaced = [provider for provider in self.providers if id(provider) not in kept]
        self._built = prepared
        return replaced


def session_rules(config: Config) -> SessionRules:
    """Return what a configuration says of sessions."""
    hold_s = config.session.hold_s
    return SessionRules(
        hold_s=None if isinstance(hold_s, str) else float(hold_s),
        connect_early=config.session.connect == "auto",
        keep_for_first=config.fallback == "keep",
        budget=Budget(config.budget.seconds_per_day, config.budget.money_per_day),
        longest_s=config.vad.max_utterance_s,
    )


def _check_lengths(config: Config, providers: Sequence[Provider]) -> None:
    """Refuse a configuration whose utterances can become longer than a provider takes."""
    problems = [
        ConfigProblem(
            config.path or "the configuration",
            0,
            0,
            f"vad.max_utterance_s is {config.vad.max_utterance_s:g}, but {provider.name} takes at "
            f"most {provider.capabilities.max_utterance_s:g} s; write {longest_s:g} or less",
        )
        for provider in providers
        if (longest_s := provider.capabilities.max_utterance_s) is not None
        and config.vad.max_utterance_s > longest_s
    ]
    if problems:
        raise ConfigError(problems)
