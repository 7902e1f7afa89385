"""From the engine's threads to the event loop: pieces of several answers, in the order in which they come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from ownlm.engine.generation import Delta, Generation


async def pieces(generations: Sequence[Generation], idle_seconds: float) -> AsyncIterator[tuple[int, Delta] | None]:
    """(which, piece) until all have ended; None when nothing came for so long. Leaving early cancels the rest."""
    loop, news = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(news.set)

    try:
        for generation in generations:
            generation.notify(tell)
        going = dict(enumerate(generations))
        while going:
            news.clear()
            came = False
            for index, generation in list(going.items()):
                for delta in generation.poll():
                    came = True
                    yield index, delta
                if generation.done:
                    del going[index]
            if came or not going:
                continue
            try:
                await asyncio.wait_for(news.wait(), idle_seconds)
            except TimeoutError:
                yield None
    finally:
        for generation in generations:
            generation.cancel()
