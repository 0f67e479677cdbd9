"""Announcements in the log."""

from __future__ import annotations

import logging

import pytest

from stt_edge.message_ids import MessageId
from stt_edge.service.ear_notices import log_notice
from stt_edge.service.keeper_terms import Announce, Notice


def logged(caplog: pytest.LogCaptureFixture, announcement: Announce) -> logging.LogRecord:
    caplog.set_level(logging.DEBUG)
    log_notice(announcement)
    (record,) = caplog.records
    return record


def test_a_loss_is_a_warning_with_its_remedy_and_a_message_id(
    caplog: pytest.LogCaptureFixture,
) -> None:
    record = logged(caplog, Announce(Notice.LOST, "No device 'USB'.", "Plug it in."))
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "No device 'USB'. Plug it in."
    assert vars(record)["message_id"] is MessageId.DEVICE_LOST


def test_a_return_is_information_with_a_message_id(caplog: pytest.LogCaptureFixture) -> None:
    record = logged(caplog, Announce(Notice.RETURNED, "Hearing again: 100 % USB."))
    assert record.levelno == logging.INFO
    assert record.getMessage() == "Hearing again: 100 % USB."
    assert vars(record)["message_id"] is MessageId.DEVICE_BACK


@pytest.mark.parametrize("notice", list(Notice))
def test_every_notice_can_be_logged(caplog: pytest.LogCaptureFixture, notice: Notice) -> None:
    assert logged(caplog, Announce(notice, "text")).getMessage() == "text"
