"""What every chat model needs done to its prompts."""

import re

from engines.cascade.parts import Prompt

#: As chat templates write them: <|im_end|> (Qwen, SmolLM2, Phi), <|eot_id|> (Llama 3),
#: <start_of_turn> (Gemma), <s>, [INST] (Llama 2, Mistral).
CONTROL_TOKEN = re.compile(r"<\|.|</?s>|<(?:bos|eos|pad|start_of_turn|end_of_turn)>|\[/?INST\]")


def as_text(text: str) -> str:
    """Text whose control tokens are text: typed ones would end the message and begin another."""
    return CONTROL_TOKEN.sub(lambda token: f"{token[0][0]} {token[0][1:]}", text)


def without_oldest_exchange(prompts: list[Prompt]) -> list[Prompt] | None:
    """The prompts without the oldest question and its answer; None if only one is left."""
    first = 1 if prompts[0].role == "system" else 0
    if len(prompts) - first <= 1:
        return None
    return prompts[:first] + prompts[first + 2 :]
