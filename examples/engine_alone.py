"""The engine without tasks and searches: python examples/engine_alone.py

Five branches begin on one prompt, and three go on from each of them. The prompt is computed once, and a branch's own
tokens are read in place by all that continue it.
"""

import treereason as tr
from treereason import Decoded, Engine, Expansion, Prompt, Sampling

ROOT = ()


def decode(engine: Engine, *expansions: Expansion) -> list[Decoded]:
    """Every child of the expansions, all decoded together."""
    for expansion in expansions:
        engine.submit(expansion)
    children: list[Decoded] = []
    while engine.busy:
        decoded, _figures = engine.step()
        children += decoded
    return sorted(children, key=lambda child: child.path)


def main() -> None:
    engine = Engine(tr.load("embedded"), seed=0)  # or a folder or hub id of a causal language model
    sampling = Sampling(temperature=1.5)

    begin = Prompt("sort 86224197058676978898405547994183=", max_tokens=16)
    starts = decode(engine, Expansion("sort", ROOT, begin, tuple((i,) for i in range(5)), sampling))
    on = Prompt("", appended=True, max_tokens=24)
    ends = decode(
        engine, *(Expansion("sort", s.path, on, tuple((*s.path, i) for i in range(3)), sampling) for s in starts)
    )
    for start in starts:
        print(f"{start.text}  log-probability {start.logprob:.2f}")
        for end in ends:
            if end.path[:-1] == start.path:
                print(f"    {end.text}  {end.cost.tokens_reused} tokens reused, {end.cost.tokens_prefilled} computed")
    engine.end_problem("sort")


if __name__ == "__main__":
    main()
