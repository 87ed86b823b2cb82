"""A real HTTP server on loopback that holds a tiny model and answers as vLLM or SGLang do.

Request and response shapes are the documented ones (vLLM 0.33: ``/v1/models``, ``/version``,
``/classify``, ``/pooling``; SGLang 0.5.23: ``/v1/models``, ``/server_info``, ``/classify``).
It stands in for those programs, which need gigabytes and a GPU: their engines are not run.

``fault(number, payload)`` may name, for each post, one of the faults below.
"""

from __future__ import annotations

import functools
import gzip
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
import transformers

__all__ = ["RewardServer"]

BUSY = {"500": 500, "503": 503, "429": 429}
WRONG_VALUES = {
    "null": [None],
    "text": ["0.5"],
    "empty": [],
    "nested": [[0.5]],
    "truth": [True],
    "none": None,
}


@functools.cache
def _load(folder: Path) -> transformers.PreTrainedModel:
    return transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()


class RewardServer(ThreadingHTTPServer):
    """Start with ``with RewardServer(folder) as server``; stops at the block's end."""

    daemon_threads = True

    def __init__(
        self,
        folder: Path,
        program: str = "vllm",
        *,
        fault: Callable[[int, dict[str, Any]], str | None] = lambda number, payload: None,
        activated: bool = False,
        key: str | None = None,
        max_model_len: int | None = 256,
        lists_models: bool = True,
        slow: float = 2.0,
        retry_after: str = "0",
        echo: str = "",
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.model = _load(folder)
        self.program, self.name = program, str(folder)
        self.fault, self.activated, self.key = fault, activated, key
        self.max_model_len, self.lists_models, self.slow = max_model_len, lists_models, slow
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.retry_after, self.echo = retry_after, echo
        self.times: list[float] = []
        self.posts: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()

    def __enter__(self) -> RewardServer:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that give up are part of the tests."""

    def rows(self, batch: list[list[int]], activation: bool) -> list[list[float]]:
        rows = []
        with self.lock, torch.no_grad():
            for ids in batch:
                logits = self.model(input_ids=torch.tensor([ids])).logits[0]
                if activation or self.activated:
                    logits = logits.sigmoid() if len(logits) == 1 else logits.softmax(-1)
                rows.append(logits.tolist())
        return rows


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RewardServer

    def log_message(self, *_: Any) -> None:
        pass

    def send(self, status: int, content: Any, *, missing: int = 0, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) + missing))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection |= bool(missing)

    def error(self, status: int, message: str, **headers: str) -> None:
        self.send(status, {"error": {"message": message, "code": status}}, **headers)

    def allowed(self) -> bool:
        key = self.server.key
        if key and self.headers.get("Authorization") != f"Bearer {key}":
            self.error(401, "Unauthorized")
            return False
        return True

    def do_GET(self) -> None:
        server = self.server
        server.paths.append(self.path)
        if not self.allowed():
            return
        card = {
            "id": server.name,
            "object": "model",
            "owned_by": server.program,
            "root": server.echo or server.name,
            "max_model_len": server.max_model_len,
        }
        answers = {
            "/v1/models": {"object": "list", "data": [card]} if server.lists_models else None,
            "/version": {"version": "0.33.0"} if server.program == "vllm" else None,
            "/server_info": {"version": "0.5.23", "api_key": server.key}
            if server.program == "sglang"
            else None,
        }
        if answers.get(self.path) is None:
            self.error(404, "Not Found")
        else:
            self.send(200, answers[self.path])

    def do_POST(self) -> None:
        server = self.server
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.allowed():
            return
        with server.lock:
            server.paths.append(self.path)
            server.posts.append(payload)
            server.times.append(time.monotonic())
            number = len(server.posts)
            server.under_way += 1
            server.most_under_way = max(server.most_under_way, server.under_way)
        try:
            self.answer(payload, server.fault(number, payload))
        finally:
            with server.lock:
                server.under_way -= 1

    def answer(self, payload: dict[str, Any], fault: str | None) -> None:
        routes = {"vllm": ["/classify", "/pooling"], "sglang": ["/classify"]}
        if self.path not in routes[self.server.program]:
            self.error(404, "Not Found")
        elif fault in BUSY:
            echo = self.headers.get("Authorization", "")
            self.error(BUSY[fault], f"busy {echo}", Retry_After=self.server.retry_after)
        elif fault == "400":
            self.error(400, "This model does not support the classify task")
        elif fault == "drop":
            self.close_connection = True
        elif fault == "html":
            self.send(200, b"<html>hello</html>")
        elif fault == "deep":
            self.send(200, b"[" * 200_000)
        elif fault == "endless":
            self.send(200, b" " * (65 << 20))
        elif fault == "gzip":  # cut within its compressed bytes
            self.send(200, gzip.compress(b"[]" * 999)[:-9], Content_Encoding="gzip")
        else:
            if fault == "slow":
                time.sleep(self.server.slow)
            content = self.vllm(payload) if self.server.program == "vllm" else self.sglang(payload)
            if content is not None:
                self.send(200, self.spoil(content, fault), missing=9 if fault == "cut" else 0)

    def vllm(self, payload: dict[str, Any]) -> dict[str, Any] | None:
        if payload["model"] not in (None, self.server.name):
            return self.error(404, f"The model `{payload['model']}` does not exist.")
        batch = payload["input"]
        if max(map(len, batch)) > self.server.max_model_len:
            return self.error(400, "This model's maximum context length is exceeded")
        rows = self.server.rows(batch, payload.get("use_activation") is not False)
        if self.path == "/pooling":
            assert payload["task"] == "classify"
            data = [
                {"index": index, "object": "pooling", "data": row} for index, row in enumerate(rows)
            ]
        else:
            data = [
                {"index": index, "label": "LABEL_0", "probs": row, "num_classes": len(row)}
                for index, row in enumerate(rows)
            ]
        usage = {"prompt_tokens": sum(map(len, batch)), "total_tokens": sum(map(len, batch))}
        return {"object": "list", "model": self.server.name, "data": data, "usage": usage}

    def sglang(self, payload: dict[str, Any]) -> list[dict[str, Any]]:
        batch = payload["input_ids"]
        return [
            {"embedding": row, "meta_info": {"id": "x", "prompt_tokens": len(ids)}}
            for row, ids in zip(self.server.rows(batch, False), batch, strict=True)
        ]

    def spoil(self, content: Any, fault: str | None) -> Any:
        items = content["data"] if isinstance(content, dict) else content
        field = next(name for name in ("probs", "data", "embedding") if name in items[0])
        if fault == "reversed":
            items.reverse()
        elif fault == "fewer":
            items.pop()
        elif fault == "model":
            content["model"] = "another"
        elif fault == "twice":
            items[-1] = items[0]
        elif fault == "same":
            for item in items:
                item[field] = [1.0]
        elif fault == "truncated":
            where = content["usage"] if isinstance(content, dict) else items[-1]["meta_info"]
            where["prompt_tokens"] -= 1
        elif fault == "bare":
            return [item[field] for item in items]
        elif fault in WRONG_VALUES:
            items[-1][field] = WRONG_VALUES[fault]
        return content
