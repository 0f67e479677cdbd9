"""Sessions: connections to a provider, the progress of utterances, a provider's standing."""
