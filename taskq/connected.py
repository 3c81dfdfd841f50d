"""What the parts of TaskQ that reach Redis need of the whole: its settings and its two clients."""

from __future__ import annotations

from abc import ABC, abstractmethod

from taskq.client import Client
from taskq.client_sync import SyncClient
from taskq.settings import Settings


class Connected(ABC):
    """The base of these parts."""

    @property
    @abstractmethod
    def settings(self) -> Settings: ...

    @property
    @abstractmethod
    def client(self) -> Client: ...

    @property
    @abstractmethod
    def sync_client(self) -> SyncClient: ...
