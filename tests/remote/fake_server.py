"""A completions server for tests: real HTTP on loopback, and a model of a few lines whose tokens are letters."""

from __future__ import annotations

import ast
import json
import re
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from treereason.remote.dialect import TRIAL

HANG_S = 30.0
"""Longer than any test; a request that hangs ends when its client goes away, and the server counts that."""
PATIENCE_S = 10.0


def model(prompt: str, seed: int) -> str:
    """What the fake model writes behind a prompt; every third seed makes a slip."""
    slip = seed % 3 == 0
    if prompt.endswith("one, two, three, four,"):
        return " five, six"
    if "Spell: " in prompt:
        word, _, written = prompt.rpartition("Spell: ")[2].partition("\n")
        return word[len(written) :] if word.startswith(written) else f"({written} lost)"
    if lists := re.findall(r"Given: (\[.*?\])", prompt):
        digits = sorted(ast.literal_eval(lists[-1]))
        return f" {digits[:-1] if slip else digits}"
    if "\nSteps:\n" in prompt:
        question, _, written = prompt.rpartition("Question: ")[2].partition("\nSteps:\n")
        value = eval(question) + slip
        whole = f"={value}+0\n={value}\nThe answer is {value}.\n"
        return whole.removeprefix(written) if whole.startswith(written) else " (lost)\n"
    return f" {seed}"


def token_logprob(context: str, token: str) -> float:
    """How likely the fake model finds a token behind a text: some number that differs wherever either does."""
    return -1.0 - blake2b(f"{context}|{token}".encode(), digest_size=1).digest()[0] / 64


class FakeServer(ThreadingHTTPServer):
    """A completions server whose habits a test sets.

    scripted: (status, headers, body) of the next answers, before it does what it should. always: of all answers.
    delay: seconds before a request is answered that is no trial. max_n: choices per answer. max_letters: of a prompt.
    merges: strings that are one token. begin: a begin-of-text token.
    refuses: whether a request is refused; status and words of that are `refusal`.
    template: the model's chat template, "" for none; tells_template: in /props, as llama.cpp does.
    continues: the form in which a text of the model's is continued, "" for none; repeats_text: in front of its answer.
    keeps_stops: in the text. samples: "by generation_config" as transformers' server. filters: knows top_k and min_p.
    same_seed: one for all choices of a request.
    models_status: of the list of models.
    echo: "full"; "from 1", which refuses max_tokens=0; "null", without values; "ignored", and 0 tokens taken for 16;
        or a status that refuses it.
    likely: the tokens that a chat endpoint may tell as the likeliest. most_told: of these, more are refused; 0: none.
    requests: all that came. keys, cookies: the headers of each. most_in_flight: how many were open at
        once. num_closed: those whose client went away.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.cookies: list[str | None] = []
        self.scripted: deque[tuple[int, dict[str, str], str]] = deque()
        self.always: tuple[int, str] | None = None
        self.models_status = 404
        self.max_n = 100
        self.max_letters = 10**6
        self.refuses: Callable[[dict[str, Any]], bool] = lambda _: False
        self.refusal = 400, "no"
        self.same_seed = self.repeats_text = self.keeps_stops = self.tells_template = False
        self.template = "{{ messages }}"
        self.continues = "continue_final_message"
        self.samples: Literal["", "by generation_config"] = ""
        self.filters = True
        self.logprobs = self.usage = self.tells_stop = True
        self.delay: Callable[[dict[str, Any]], float] = lambda _: 0.0
        self.merges: tuple[str, ...] = ()
        self.begin = ""
        self.echo: Literal["full", "from 1", "null", "ignored"] | int = "full"
        self.likely: tuple[str, ...] = (" yes", " no", "y", " ")
        self.most_told = 20
        self.in_flight = self.most_in_flight = self.num_closed = 0
        self.changed = threading.Condition()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error, and what is written of it would land in another test's stderr."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def wait_until(self, state: Callable[[FakeServer], bool]) -> None:
        """Return when `state` holds of this server; an AssertionError when it never does."""
        with self.changed:
            assert self.changed.wait_for(lambda: state(self), timeout=PATIENCE_S)

    def tokens(self, text: str) -> list[str]:
        """The text in tokens: letters, but for `merges`."""
        whole = "|".join(map(re.escape, self.merges))
        return [self.begin] * bool(self.begin) + re.findall(f"{whole}|." if whole else ".", text, re.DOTALL)

    def answer(self, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and body for a request."""
        if self.refuses(request):
            return self.refusal[0], {"error": {"message": self.refusal[1]}}
        request = {"max_tokens": request.get("max_completion_tokens"), **request}
        if len(request["prompt"]) > self.max_letters:
            return 413, {"error": {"message": "the prompt is too long"}}
        if request.get("echo") and self.echo != "ignored":
            if isinstance(self.echo, int):
                return self.echo, {"error": {"message": "Only no echo is supported"}}
            if self.echo == "from 1" and request["max_tokens"] == 0:
                return 400, {"error": {"message": "max_tokens must be at least 1"}}
            return 200, self._echoed(request["prompt"], request["max_tokens"])
        return 200, self._completion({**request, "max_tokens": request["max_tokens"] or 16})

    def chat(self, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and body for a request of messages: those of a completion, in the form of the chat endpoint."""
        *_, last = request["messages"]
        if self.template == "":
            return 400, {"error": {"message": "the model has no chat template"}}
        prompt = "".join(message["content"] for message in request["messages"])
        said = last["content"] if last["role"] == "assistant" else ""
        if said and self.continues not in ("as it is", *(("prefix",) if "prefix" in last else ()), *request):
            prompt, said = prompt + "<end><begin>", ""
        if 0 < self.most_told < request.get("top_logprobs", 0):
            return 400, {"error": {"message": f"top_logprobs must be at most {self.most_told}"}}
        status, body = self.answer({**request, "prompt": prompt})
        for choice in body.get("choices", ()):
            choice["text"] = said * self.repeats_text + choice["text"]
            choice["message"] = {"role": "assistant", "content": choice.pop("text")}
            if logprobs := choice.get("logprobs"):
                pairs = zip(logprobs["tokens"], logprobs["token_logprobs"], strict=True)
                content: list[dict[str, Any]] = [{"token": token, "logprob": value} for token, value in pairs]
                if "top_logprobs" in request and self.most_told and content:
                    likely = [{"token": token, "logprob": token_logprob(prompt, token)} for token in self.likely]
                    content[0]["top_logprobs"] = likely[: request["top_logprobs"]]
                choice["logprobs"] = {"content": content}
        return status, body

    def _echoed(self, prompt: str, max_tokens: int) -> dict[str, Any]:
        tokens, values, context = self.tokens(prompt), list[float | None](), ""
        for token in tokens:
            values.append(None if self.echo == "null" or not values else token_logprob(context, token))
            context += "" if token == self.begin else token
        made = ["!"] * max_tokens
        logprobs = {"tokens": tokens + made, "token_logprobs": values + [-9.0] * len(made)}
        choice = {"index": 0, "text": prompt + "".join(made), "finish_reason": "length", "logprobs": logprobs}
        # As vLLM counts, which decodes a token and throws it away where max_tokens is 0.
        usage = {"prompt_tokens": len(tokens), "completion_tokens": 1}
        return {"choices": [choice], **({"usage": usage} if self.usage else {})}

    def _greedy(self, request: dict[str, Any]) -> bool:
        if request.get("temperature") == 0 or (self.samples == "by generation_config" and not _nested(request)):
            return True
        asked = {**request, **_nested(request)} if self.samples == "by generation_config" else request
        return self.filters and (asked.get("top_k") == 1 or asked.get("min_p") == 1.0)

    def _completion(self, request: dict[str, Any]) -> dict[str, Any]:
        choices = []
        for index in range(min(request.get("n", 1), self.max_n)):
            seed = request.get("seed", 0) + (0 if self.same_seed else index)
            text = model(request["prompt"], 1 if self._greedy(request) else seed)
            full = text[: request["max_tokens"]]
            ends = [(full.find(stop), stop) for stop in request.get("stop", ()) if stop in full]
            end, stop = min(ends, default=(len(full), None))
            tokens = full[: end + len(stop or "")]
            choice: dict[str, Any] = {"index": index, "text": tokens if self.keeps_stops else full[:end]}
            choice["finish_reason"] = "length" if len(text) > len(full) and stop is None else "stop"
            if self.tells_stop:
                choice["stop_reason"] = stop
            if self.logprobs and "logprobs" in request:
                choice["logprobs"] = {"tokens": list(tokens), "token_logprobs": [-0.5] * len(tokens)}
            choices.append(choice)
        num_tokens = sum(len(choice["text"]) for choice in choices)
        usage = {"prompt_tokens": len(request["prompt"]), "completion_tokens": num_tokens}
        # Backwards, because only the index says which is which.
        return {"object": "text_completion", "choices": choices[::-1], **({"usage": usage} if self.usage else {})}


def _trial(request: dict[str, Any]) -> bool:
    """Whether it is one of the short requests that show what a server does."""
    return TRIAL in (request.get("prompt"), request.get("messages", [{}])[0].get("content"))


def _nested(request: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.get("generation_config", "{}"))
    return found if found.get("do_sample") else {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeServer

    def do_GET(self) -> None:
        self.server.keys.append(self.headers.get("Authorization"))
        fake = self.server
        if self.path == "/props" and fake.tells_template:
            self._answer(200, json.dumps({"chat_template": fake.template}))
        else:
            self._answer(fake.models_status if self.path == "/v1/models" else 404, "{}")

    def do_POST(self) -> None:
        fake = self.server
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with fake.changed:
            fake.requests.append(request)
            fake.keys.append(self.headers.get("Authorization"))
            fake.cookies.append(self.headers.get("Cookie"))
            fake.in_flight += 1
            fake.most_in_flight = max(fake.most_in_flight, fake.in_flight)
            scripted = fake.scripted.popleft() if fake.scripted else None
            fake.changed.notify_all()
        left = bool(
            select.select([self.connection], [], [], 0 if _trial(request) else fake.delay(request))[0]
        )  # readable: its end was reached
        with fake.changed:
            fake.in_flight -= 1
            fake.num_closed += left
            fake.changed.notify_all()
        if left:
            self.close_connection = True
        elif self.path not in ("/v1/completions", "/v1/chat/completions"):
            self._answer(404, '{"detail": "Not Found"}')
        elif scripted is not None:
            self._answer(scripted[0], scripted[2], scripted[1])
        elif fake.always is not None:
            self._answer(*fake.always)
        else:
            status, body = fake.answer(request) if self.path == "/v1/completions" else fake.chat(request)
            self._answer(status, json.dumps(body))

    def _answer(self, status: int, body: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass
