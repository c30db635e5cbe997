"""Speculative decoding of a run: who proposes tokens, and whether anyone does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from treereason.config.schema import Config
from treereason.core import UserError
from treereason.engine.engine import PAGE_SIZE, Engine
from treereason.engine.kv.capacity import default_kv_tokens
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.speculation.drafter import Drafter
from treereason.engine.speculation.model_drafts import ModelDrafts
from treereason.engine.speculation.row_budget import RowBudget
from treereason.engine.speculation.sibling_drafts import SiblingDrafts

if TYPE_CHECKING:  # its packages are an extra
    from treereason.remote.engine import RemoteEngine


@dataclass(frozen=True)
class Drafting:
    """drafter: None where nothing is proposed; `why` says why, where that was not asked for."""

    drafter: Drafter | None = None
    budget: RowBudget | None = None
    why: str = ""


def drafting(config: Config, model: LanguageModel) -> Drafting:
    """As configured. Raises UserError for a draft model that does not fit."""
    asked, draft = config.speculative, config.draft
    if asked == "none":
        return Drafting()
    if asked == "auto" and not (model.same_bits or config.engine.deterministic):
        return Drafting(why="none: here a token's last bits depend on what is computed beside it")
    budget = RowBudget() if asked == "auto" else None
    if asked == "siblings" or draft.model is None:
        return Drafting(SiblingDrafts(draft.depth, draft.width), budget)
    from treereason.engine.model.load import load_model  # seconds of imports

    small = load_model(draft.model, style=model.style, device=str(model.device), cpu=config.engine.cpu)
    check_vocabulary(draft.model, small, model)
    kv_tokens = config.engine.kv_tokens or default_kv_tokens(model.device, model.kv_bytes_per_token)
    drafter = ModelDrafts(small, depth=draft.depth, kv_tokens=kv_tokens, page_size=PAGE_SIZE)
    return Drafting(drafter, budget)


def drafts_told(engine: Engine | RemoteEngine) -> dict[str, Any]:
    """What speculative decoding did, or why it did nothing; nothing where it was not asked for."""
    if isinstance(engine, Engine) and engine.speculation is not None:
        return engine.speculation.report()
    return {"why": why} if (why := getattr(engine, "drafts", "")) else {}


def check_vocabulary(name: str, small: LanguageModel, model: LanguageModel) -> None:
    """Raises UserError where the same ids are not the same text."""
    mine, theirs = (one.tokenizer.get_vocab() for one in (model, small))
    if mine != theirs:
        other = next(iter(mine.items() ^ theirs.items()))
        raise UserError(
            f"draft.model={name}: its vocabulary is another one than that of model.name={model.name} "
            f"(as in {other[0]!r}): take a model with the same tokenizer"
        )
