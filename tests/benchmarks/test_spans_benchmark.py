"""The benchmark of attention spans decodes given texts on every side, and counts what each reads."""

from __future__ import annotations

import torch

from benchmarks import spans
from benchmarks.decode_models import random_llama
from benchmarks.decode_sides import NumberTokenizer
from benchmarks.record import RESULTS
from treereason.core.spans import views
from treereason.engine.model.language_model import LanguageModel


def test_a_case_tells_reads_and_times_of_all_sides() -> None:
    network = random_llama(torch.float32, layers=1, hidden=64)
    model = LanguageModel(network, NumberTokenizer(), "plain")
    problems, context = (spans.measure(model, case, repeats=1) for case in ("3", "132x4"))
    for found in (problems, context):
        read = found["kv_tokens_a_step"]
        assert read["spans"] < read["tree"] <= read["sequence"]
        assert set(found["times"]) == {"spans", "tree", "sequence"}
    assert problems["kv_tokens_a_step"]["tree"] == problems["kv_tokens_a_step"]["sequence"]
    assert context["kv_tokens_a_step"]["tree"] < context["kv_tokens_a_step"]["sequence"] / 2


def test_what_a_token_sees_does_not_grow_with_the_problem() -> None:
    largest = []
    for operations in ("12", "96"):
        work = spans.work_of(operations, 0)
        tokens = work.prompts[0] + work.texts[0][0]
        seen = views(spans.POLICY, tokens)[len(work.prompts[0]) :]
        sizes = [
            sum(last - first for first, last in earlier) + position + 1 - own
            for position, (earlier, own) in enumerate(seen, len(work.prompts[0]))
        ]
        largest.append(max(sizes))
    assert largest[0] == largest[1]


def test_the_page_shows_the_recorded_rows() -> None:
    assert spans.recorded_table() in (RESULTS.parent.parent / "docs" / "spans.md").read_text()
