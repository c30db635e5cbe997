"""A judge without labels: treereason task=sorting task.length=64 search=best_of_n scorer=./examples/judge.py:judge"""

import treereason as tr

UNPARSABLE = -1000.0


@tr.judge
async def judge(thought: tr.Thought, tree: tr.Tree) -> float:
    """Log-probability that the shipped model, asked to mend the sorted list, leaves it as it is.

    No token is decoded: the list itself is written behind the question, and measured.
    """
    if not thought.answer:
        return UNPARSABLE
    given, attempt = ("".join(map(str, digits)) for digits in (thought.problem.input, thought.answer))
    [unchanged] = await tree.write(thought, [attempt], tr.Prompt(f"fix {given}:{attempt}="), part=True)
    tree.drop([unchanged])
    return unchanged.logprob
