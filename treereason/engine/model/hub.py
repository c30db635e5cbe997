"""Whether the Hugging Face hub can be asked for a model, found out before its client tries for half a minute."""

from __future__ import annotations

import time

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, is_offline_mode, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError

from treereason.core import UserError
from treereason.text import one_line, printable

CONFIG = "config.json"
PAUSES_S = (1.0, 0.0)
"""After attempts that fail: a moment without a network is not the end of it."""


def only_cached(name: str) -> bool:
    """Whether a hub id can be read from the hub's cache only, because the hub is out of reach.

    One small request shows it; one that is slow to be answered shows nothing, and the client may wait longer. Raises
    UserError for what is neither in the cache nor on the hub.
    """
    nowhere = f"model.name={name}: no such folder or file here"
    try:
        cached = isinstance(try_to_load_from_cache(name, CONFIG), str)
        out_of_reach = _out_of_reach(name)
    except HFValidationError as error:
        raise UserError(f"{nowhere}, and no hub id: {printable(one_line(error))}") from None
    except RepositoryNotFoundError:
        raise UserError(
            f"{nowhere}, and {constants.ENDPOINT} has no model of this name that you may read: give a folder or "
            "another id, or log in with `hf auth login`"
        ) from None
    if out_of_reach and not cached:
        raise UserError(f"{nowhere}, nor in the hub's cache, and {out_of_reach}")
    return bool(out_of_reach)


def _out_of_reach(name: str) -> str:
    """Why the hub cannot be asked, and what to do; "" where it answers, or may still do so."""
    if is_offline_mode():
        return "HF_HUB_OFFLINE forbids to ask the hub: give a folder, or unset it"
    reason = ""
    for pause_s in PAUSES_S:
        try:
            get_hf_file_metadata(hf_hub_url(name, CONFIG))
        except GatedRepoError:
            return ""
        except RepositoryNotFoundError:
            raise
        except HfHubHTTPError:  # transformers tells the rest
            return ""
        except Exception as error:  # of httpx or its successor, as the version of the client has it
            if type(error).__name__ == "ReadTimeout":
                return ""
            reason = printable(one_line(error, 120))
            time.sleep(pause_s)
        else:
            return ""
    return (
        f"{constants.ENDPOINT} cannot be reached: {reason}; give a folder, or try again with a network "
        "(HF_ENDPOINT names another hub)"
    )
