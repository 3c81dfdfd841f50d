"""Counts what Python does on this thread: calls of our code, and allocations. No clock is read.

Both count the same however fast or busy the machine is, unlike time, and unlike what is alive at
some moment (`sys.getallocatedblocks`, `gc.get_count`), which misses all that is soon freed.
"""

from __future__ import annotations

import ctypes
import gc
import shutil
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import taskq
from tests.chaos.server import lacking

_OURS = str(Path(taskq.__file__).parent)
#: Counts in front of Python's own allocators. What types keep in free lists is not asked for, and
#: so costs nothing here, as it costs next to nothing there.
_HOOK = r"""
#include <pthread.h>
#include <stddef.h>

typedef struct {
    void *ctx;
    void *(*malloc)(void *ctx, size_t size);
    void *(*calloc)(void *ctx, size_t count, size_t size);
    void *(*realloc)(void *ctx, void *block, size_t size);
    void (*free)(void *ctx, void *block);
} Allocator;

extern void PyMem_GetAllocator(int domain, Allocator *found);
extern void PyMem_SetAllocator(int domain, Allocator *wanted);

/* Of the domains: 0 is raw, which may be called without the GIL; 1 is mem, 2 is obj. */
static Allocator own[3];
static pthread_t thread;
static long long count;

static void note(void) { if (pthread_equal(pthread_self(), thread)) count++; }
static void *counted_malloc(void *ctx, size_t size) {
    Allocator *to = ctx;
    note();
    return to->malloc(to->ctx, size);
}
static void *counted_calloc(void *ctx, size_t number, size_t size) {
    Allocator *to = ctx;
    note();
    return to->calloc(to->ctx, number, size);
}
static void *counted_realloc(void *ctx, void *block, size_t size) {
    Allocator *to = ctx;
    note();
    return to->realloc(to->ctx, block, size);
}
static void plain_free(void *ctx, void *block) {
    Allocator *to = ctx;
    to->free(to->ctx, block);
}

void begin(void) {
    thread = pthread_self();
    count = 0;
    for (int domain = 1; domain < 3; domain++) {
        PyMem_GetAllocator(domain, &own[domain]);
        Allocator counted = {
            &own[domain], counted_malloc, counted_calloc, counted_realloc, plain_free,
        };
        PyMem_SetAllocator(domain, &counted);
    }
}

long long end(void) {
    for (int domain = 1; domain < 3; domain++) PyMem_SetAllocator(domain, &own[domain]);
    return count;
}
"""


class Counter(Protocol):
    """Counts between `begin` and `end`; a second `end` changes nothing."""

    def begin(self) -> None: ...

    def end(self) -> int: ...


class Calls:
    """Calls of taskq's functions, and by them: of Python functions and of built-in ones.

    Those of other libraries among themselves are left out: they are another version's matter.
    """

    _count = 0

    def begin(self) -> None:
        self._count = 0
        gc.disable()
        sys.setprofile(self._look)

    def _look(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            caller = frame.f_back
            if _is_ours(frame) or (caller is not None and _is_ours(caller)):
                self._count += 1
        elif event == "c_call" and _is_ours(frame):
            self._count += 1

    def end(self) -> int:
        sys.setprofile(None)
        gc.enable()
        return self._count


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_OURS)


class Allocations:
    """Blocks that this thread asks Python's allocators for, or asks to be larger."""

    def __init__(self, hook: ctypes.PyDLL) -> None:
        self._hook = hook
        self._counting = False
        self._count = 0

    def begin(self) -> None:
        gc.disable()
        self._counting = True
        self._hook.begin()

    def end(self) -> int:
        if self._counting:
            self._count = int(self._hook.end())
            self._counting = False
            gc.enable()
        return self._count


def compile_hook(folder: Path) -> ctypes.PyDLL:
    """The hook, loaded for good: Python may still call it. Skips where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        lacking("no C compiler", "apt-get install gcc")
    source, library = folder / "hook.c", folder / "hook.so"
    source.write_text(_HOOK)
    words = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    subprocess.run(
        [str(compiler), "-shared", "-fPIC", "-O2", *words, "-o", str(library), str(source)],
        check=True,
        timeout=60,
    )
    hook = ctypes.PyDLL(str(library))
    hook.end.restype = ctypes.c_longlong
    return hook
