"""The store: what is known of utterances and every committed result, in one SQLite file."""
