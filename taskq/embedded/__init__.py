"""A private Valkey or Redis for development, started when nothing else is configured.

`ensure` attaches or starts, `status` looks, `stop` ends. It listens on a Unix socket that only
this user can open. It never imports redis, and no job traffic passes through here.
"""

from __future__ import annotations

from taskq.embedded.server import Running, ensure, status, stop

__all__ = ["Running", "ensure", "status", "stop"]
