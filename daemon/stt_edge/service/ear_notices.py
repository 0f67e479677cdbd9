"""What the keeper announces, as entries of the daemon's log."""

from __future__ import annotations

import logging
from typing import Final

from stt_edge.message_ids import MessageId
from stt_edge.service.keeper_terms import Announce, Notice

_log = logging.getLogger(__name__)

_LEVEL: Final = {
    Notice.LOST: logging.WARNING,
    Notice.SILENT: logging.WARNING,
    Notice.STUCK: logging.ERROR,
}
_MESSAGE_ID: Final = {
    Notice.LOST: MessageId.DEVICE_LOST,
    Notice.RETURNED: MessageId.DEVICE_BACK,
    Notice.MUTED: MessageId.MUTED,
    Notice.UNMUTED: MessageId.UNMUTED,
}


def log_notice(announcement: Announce) -> None:
    """Log an announcement, with its MESSAGE_ID where it has one."""
    message_id = _MESSAGE_ID.get(announcement.notice)
    _log.log(
        _LEVEL.get(announcement.notice, logging.INFO),
        "%s",
        f"{announcement.message} {announcement.remedy}".rstrip(),
        extra={"message_id": message_id} if message_id else {},
    )
