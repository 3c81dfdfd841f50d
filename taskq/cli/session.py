"""What one command run knows: options given, the settings in force, where Redis is. Doors to Redis
for commands.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from taskq.address import Address, Resolved
    from taskq.app import TaskQ
    from taskq.inspect import Inspector
    from taskq.settings import Settings
    from taskq.store import Store

T = TypeVar("T")


class Session:
    """Made at the top, passed to every command with `@click.pass_obj`."""

    def __init__(self) -> None:
        self.given: dict[str, object] = {}
        """Settings given as options."""
        self.verbose = 0
        self.quiet = False
        """Somebody else has said already that the embedded server is used."""
        self._settings: Settings | None = None
        self._found: Resolved | None = None

    @property
    def settings(self) -> Settings:
        """The settings in force. Raises ConfigError, exit code 78."""
        if self._settings is None:
            from taskq.settings import Settings

            self._settings = Settings.load(self.given)
        return self._settings

    @property
    def found(self) -> Resolved:
        """Where Redis is and how it was found; may start the embedded server, and then says so
        once.
        """
        if self._found is None:
            from taskq import embedded
            from taskq.address import resolve

            settings = self.settings
            self._found = resolve(
                settings.redis_url,
                production=settings.env == "production",
                start_embedded=lambda: (
                    embedded.ensure(settings.embedded_dir, settings.redis_server).url
                ),
            )
            if self._found.source == "embedded" and settings.redis_url is None and not self.quiet:
                click.echo(
                    f"no Redis configured: using the embedded server at {self._found.address.masked}"
                    " (`taskq embedded stop` ends it)",
                    err=True,
                )
        return self._found

    @property
    def address(self) -> Address:
        """The server, with the certificate files of the settings."""
        if not self.found.address.secure:
            return self.found.address
        from taskq.app import with_tls

        return with_tls(self.found.address, self.settings)

    def adopt(self, app: TaskQ) -> None:
        """Use an app's settings with the options given on top, and let the app use the same
        Redis.
        """
        self._settings = app.settings.replace(**self.given)
        if self._settings.redis_url is None:
            self._settings = self._settings.replace(redis_url=self.found.address.url())
        app.configure(self._settings)

    def app(self) -> TaskQ:
        """An app without tasks, for sending by name."""
        from taskq.app import TaskQ

        app = TaskQ()
        self.adopt(app)
        return app

    def run(self, work: Callable[[Store], Awaitable[T]]) -> T:
        """Do something with an open store, on an event loop of its own."""
        import asyncio

        from taskq.stores import open_store

        address, settings = self.address, self.settings

        async def main() -> T:
            store = open_store(
                address,
                connect_timeout=settings.connect_timeout,
                socket_timeout=settings.socket_timeout,
                name="taskq-cli",
            )
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(main())

    def look(self, work: Callable[[Inspector], Awaitable[T]]) -> T:
        """Look at this namespace."""
        from taskq.inspect import Inspector

        return self.run(lambda store: work(Inspector(store, self.settings.namespace)))

    def set_up_logs(self) -> None:
        """Send logs to stderr as the settings say; -v means debug."""
        from taskq.observe.logs import set_up

        level: Any = "debug" if self.verbose else self.settings.log_level
        set_up(self.settings.log_format, level)
