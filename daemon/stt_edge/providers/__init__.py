"""Speech-to-text providers: each a wire protocol without I/O, and a description of itself."""
