"""stt-edge: a voice-capture daemon that turns speech at a microphone into transcripts."""

__version__ = "0.1.0"
