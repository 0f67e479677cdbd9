"""The configuration file: its schema, and a loader that reports every mistake at once."""
