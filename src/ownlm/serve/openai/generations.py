"""From the engine's threads to the event loop: pieces of several answers, in the order in which they come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from ownlm.engine.generation import Delta, Generation
from ownlm.serve.openai.timings import Timings, Watch


async def pieces(
    generations: Sequence[Generation], idle_seconds: float, timings: Timings
) -> AsyncIterator[tuple[int, Delta] | None]:
    """(which, piece) until all have ended; None when nothing came for so long. Leaving early cancels the rest."""
    watches = [Watch(generation, timings) for generation in generations]
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
                deltas = generation.poll()
                watches[index].see()
                for delta in deltas:
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
