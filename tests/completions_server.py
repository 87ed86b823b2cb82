"""A real HTTP server of a tiny model's completions, in the OpenAI API's echo form.

As vLLM and llama.cpp answer ``/v1/completions`` with ``echo`` and ``logprobs``: the prompt's
tokens with their log-probabilities (the first has none), then what was generated.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
import transformers


@contextmanager
def serve(folder):
    """Serve a checkpoint's completions; yields the address and the list of payloads got."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    payloads = []
    # Some servers take only text, which their own tokenizer reads.
    ids_of = lambda prompt: tokenizer(prompt).input_ids if isinstance(prompt, str) else prompt  # noqa: E731

    def choice(index, prompt, top):
        ids = ids_of(prompt)
        with torch.no_grad():
            logs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        ids = [*ids, int(logs[-1].argmax())]
        best = logs.topk(top)
        names = tokenizer.convert_ids_to_tokens(ids)
        tops = [
            {tokenizer.convert_ids_to_tokens(int(i)): float(v) for v, i in zip(*pair, strict=True)}
            for pair in zip(best.values, best.indices, strict=True)
        ]
        given = [float(logs[place, token]) for place, token in enumerate(ids[1:])]
        return {
            "index": index,
            "text": tokenizer.decode(ids),
            "logprobs": {
                "tokens": names,
                "token_logprobs": [None, *given],
                "top_logprobs": [None, *tops],
            },
        }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):  # lm-eval asks for a remote tokenizer, which this server lacks
            self.send_error(404)

        def do_POST(self):
            payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            payloads.append(payload)
            assert payload["echo"] is True
            assert (payload["max_tokens"], payload["temperature"]) == (1, 0)
            prompts = payload["prompt"]
            prompts = [prompts] if isinstance(prompts, str) else prompts
            body = {
                # Out of order, as a server may answer.
                "choices": [choice(i, p, payload["logprobs"]) for i, p in enumerate(prompts)][::-1]
            }
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/completions", payloads
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
