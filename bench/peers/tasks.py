"""The tasks that every system runs, as plain functions: for systems whose decorator or registry
takes any function. The others write them in their own form, beside their producer.
"""

from __future__ import annotations

import asyncio

from bench.peers import kit


async def noop() -> None:
    kit.ran()


def plain() -> None:
    kit.ran()


async def burn() -> None:
    kit.burn()


async def nap() -> None:
    await asyncio.sleep(kit.NAP_S)
    kit.ran()


async def swallow(text: str) -> None:
    kit.ran()


async def stamp(called_ns: int) -> None:
    kit.stamp(called_ns)


async def echo(text: str) -> str:
    return text


COROUTINES = (noop, burn, nap, swallow, stamp, echo)
ALL = (*COROUTINES, plain)
