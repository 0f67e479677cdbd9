"""``stt-edge unmute``: the other half of ``mute``."""

from stt_edge.cli.mute import EPILOG, add_arguments, run

__all__ = ["EPILOG", "add_arguments", "run"]
