"""Imported by every Python that a sabotaged test starts."""

from __future__ import annotations

from scripts.lib.sabotage.edit import suffer

suffer()
