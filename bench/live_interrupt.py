"""How long after somebody speaks up does the server stop sending, over a real WebSocket?

    python -m bench.live_interrupt [--times 12]

The caller (see `bench.live_latency`) has a long answer read to it and speaks
over it, each time a little later. Measured on the caller's side: from the
sending of the first frame that has speech in it to the arrival of the last
audio of the answer. The least possible is the speech that an interruption
takes (250 ms) less what of its first frame is no speech yet.
"""

import argparse
import asyncio
from typing import Any

import numpy as np

from bench.caller import Caller, call
from bench.live_latency import STARTING, questions, server
from speech.pcm import Audio

#: Longer than anybody waits before speaking up here.
LONG = "Tell me the story of Little Red Riding Hood, at length."
#: After the beginning of the answer, seconds: beyond the grace that its echo has.
FIRST, STEP = 1.0, 0.137


async def interrupt(caller: Caller, words: Audio, after: float) -> float:
    """Speak over an answer; returns ms from the first speech to the last audio of the answer."""
    deltas = len(caller.of("response.output_audio.delta"))
    dones = len(caller.of("response.done"))
    item: dict[str, Any] = {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": LONG}],
    }
    await caller.send(type="conversation.item.create", item=item)
    await caller.send(type="response.create")
    await caller.wait("response.output_audio.delta", deltas + 1, STARTING)
    await asyncio.sleep(after)
    caller.say(words)
    done = await caller.wait("response.done", dones + 1, STARTING)
    assert done.response.status == "cancelled", done.response.status
    began = caller.spoke_from
    response = done.response.id
    last = [e for e in caller.of("response.output_audio.delta") if e.response_id == response][-1]
    taken = float((last.received - began) * 1000)
    assert taken > 0, "nothing was being sent when it was interrupted"
    return taken


async def measure(address: str, times: int) -> list[float]:
    """Interrupt so often."""
    spoken = questions()
    taken = []
    for number in range(times):
        # Each in a conversation of its own: nobody waits for the answer to the interruption.
        async with call(address) as caller:
            session = {"type": "realtime", "max_output_tokens": 200}
            await caller.send(type="session.update", session=session)
            words = spoken[number % len(spoken)]
            taken.append(await interrupt(caller, words, FIRST + number * STEP))
            print(f"{number:3} {taken[-1]:.0f} ms", flush=True)
    return taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=12)
    options = parser.parse_args()
    with server("parley") as running:
        taken = asyncio.run(measure(running.address, options.times))
    p50, p95 = np.percentile(taken, [50, 95])
    print(
        f"first speech to last audio: p50 {p50:.0f} ms, p95 {p95:.0f} ms, most {max(taken):.0f} ms"
    )


if __name__ == "__main__":
    main()
