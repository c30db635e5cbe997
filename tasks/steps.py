"""The texts of thoughts that continue one another's tokens."""

from treereason.core import Finish, Thought

STEPS_TO_WHOLE = 2
"""Tokens of a path of steps at most, over those of a whole answer: steps may repeat, or be taken back."""


def first_thought(thought: Thought) -> Thought:
    """The thought whose prompt is one of its own, at the head of all that was appended to it down to this one."""
    while thought.appended and thought.parent is not None:
        thought = thought.parent
    return thought


def open_text(thought: Thought) -> str:
    """The thought's text, behind those that it continues in mid-step because their limit had cut them off."""
    text = thought.text
    while thought.appended and (above := thought.parent) is not None and above.finish is Finish.LENGTH:
        text, thought = above.text + thought.prompt + text, above
    return text


def path_text(thought: Thought) -> str:
    """All that was written behind the last prompt of its own down to this thought, stop strings of others included."""
    text = thought.text
    while thought.appended and (above := thought.parent) is not None:
        text, thought = above.text + above.stop + thought.prompt + text, above
    return text


def tokens_left(thought: Thought, whole: int) -> int:
    """What is left of `whole` tokens for the thoughts behind one prompt: searches end where a model never answers."""
    written = thought.cost.tokens_decoded
    while thought.appended and thought.parent is not None:
        thought = thought.parent
        written += thought.cost.tokens_decoded
    return whole - written


def solution_text(thought: Thought) -> str:
    """The lines of all thoughts from the root to this one, whether a thought is one line or a whole solution."""
    return "\n".join(above.text for above in reversed(thought.ancestors()) if above.depth)
