"""Prompt lookup of other engines beside ours: the same greedy texts, one at a time, with drafts and without.

    python -m benchmarks.speculative_peers --model FOLDER --prompts FILE [--record]
    PEERS/bin/python -m benchmarks.speculative_peers --gguf FILE --prompts FILE    # llama.cpp; record by hand

The first call writes the prompts' token ids into FILE: document merging in the model's chat template. Every engine
decodes them with its own drafts (ours: siblings; transformers: prompt_lookup_num_tokens; llama.cpp:
LlamaPromptLookupDecoding) and without, in turns.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # before torch loads OpenMP (docs/log.md)

import argparse
import importlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.record import finish, spread

Decode = Callable[[list[int]], list[int]]
DRAFTED = 8
CONTEXT = 2048


def sides_here(folder: Path, tokens: int) -> tuple[dict[str, Decode], Any]:
    """Ours and transformers', each plain and with drafts; and our model."""
    import torch
    from transformers import AutoModelForCausalLM

    import treereason as tr
    from treereason.core import Expansion, Prompt, Sampling
    from treereason.engine.engine import Engine
    from treereason.engine.speculation.sibling_drafts import SiblingDrafts

    ours: Any = tr.load(str(folder), dtype="bfloat16")
    network: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)

    def treereason(ids: list[int], drafted: int) -> list[int]:
        engine = Engine(ours, kv_tokens=8192, drafter=SiblingDrafts(drafted) if drafted else None)
        prompt = Prompt("", token_ids=tuple(ids), max_tokens=tokens, ignore_end=True)
        engine.submit(Expansion("p", (), prompt, ((0,),), Sampling(0.0)))
        while engine.busy:
            engine.step()
        [thought] = engine._thoughts
        return list(thought.branch.tokens)

    def transformers(ids: list[int], drafted: int) -> list[int]:
        options = {"prompt_lookup_num_tokens": drafted} if drafted else {}
        with torch.inference_mode():
            made = network.generate(
                torch.tensor([ids]), do_sample=False, max_new_tokens=tokens, min_new_tokens=tokens, **options
            )
        found: list[int] = made[0, len(ids) :].tolist()
        return found

    sides: dict[str, Decode] = {}
    for name, decode in {"treereason": treereason, "transformers": transformers}.items():
        sides[name] = lambda ids, decode=decode: decode(ids, 0)  # type: ignore[misc]
        sides[f"{name} drafted"] = lambda ids, decode=decode: decode(ids, DRAFTED)  # type: ignore[misc]
    return sides, ours


def sides_of_llama_cpp(path: Path, tokens: int, threads: int) -> dict[str, Decode]:
    """llama.cpp's, plain and with drafts."""
    llama_cpp = importlib.import_module("llama_cpp")
    lookup = importlib.import_module("llama_cpp.llama_speculative").LlamaPromptLookupDecoding(num_pred_tokens=DRAFTED)
    options = {"n_ctx": CONTEXT, "n_threads": threads, "n_threads_batch": threads, "verbose": False}
    plain = llama_cpp.Llama(str(path), **options)
    drafted = llama_cpp.Llama(str(path), draft_model=lookup, logits_all=True, **options)

    def decode(ids: list[int], engine: Any) -> list[int]:
        engine.reset()
        made = engine.generate(ids, temp=0.0, repeat_penalty=1.0)
        return [next(made) for _ in range(tokens)]

    return {"llama.cpp": lambda ids: decode(ids, plain), "llama.cpp drafted": lambda ids: decode(ids, drafted)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--gguf", type=Path, default=None)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--num-prompts", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="append to benchmarks/results/")
    args = parser.parse_args(arguments)

    if args.gguf is not None:
        sides = sides_of_llama_cpp(args.gguf, args.tokens, args.threads)
    else:
        import torch

        import treereason as tr
        from treereason.core import Thought

        torch.set_num_threads(args.threads)
        sides, ours = sides_here(args.model, args.tokens)
        task = tr.tasks.DocumentMerging(documents=2, limit=args.num_prompts)
        asked = [task.prompt(Thought(problem), "chat") for problem in task.problems(seed=0)]
        args.prompts.write_text(json.dumps([ours.encode(prompt)[0] for prompt in asked]))
    prompts: list[list[int]] = json.loads(args.prompts.read_text())
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    texts: dict[str, list[list[int]]] = {}
    for _ in range(args.repeats):
        for name, decode in sides.items():
            begin = time.perf_counter()
            texts[name] = [decode(prompt) for prompt in prompts]
            seconds[name].append(time.perf_counter() - begin)
    rows = {}
    for name in [name for name in sides if not name.endswith(" drafted")]:
        plain, drafted = seconds[name], seconds[f"{name} drafted"]
        rows[name] = {
            "seconds": spread(plain),
            "seconds_drafted": spread(drafted),
            "off_over_on": spread([off / on for off, on in zip(plain, drafted, strict=True)]),
            "same_tokens": texts[name] == texts[f"{name} drafted"],
        }
    measured = {"prompts": len(prompts), "tokens": args.tokens, "threads": args.threads, "rows": rows}
    finish("speculative_peers", measured, packages=("torch", "transformers", "llama-cpp-python"), record=args.record)


if __name__ == "__main__":
    main()
