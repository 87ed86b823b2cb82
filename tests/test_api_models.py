"""The probe on lm-eval's own API model, against a loopback server with log-probabilities.

The server answers ``/v1/completions`` (``echo``, ``logprobs``) as vLLM and OpenAI document it,
with a tiny language model behind it.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import lm_eval
import pytest
import torch
import transformers
from lm_eval.tasks import TaskManager

from rm_value_tasks import task_config_dir
from tests import tiny


@pytest.fixture
def completions():
    """Serve a model; returns a function from the model to the address."""
    started = []

    def serve(model):
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert (self.path, asked["echo"]) == ("/v1/completions", True)
                prompts = asked["prompt"]
                choices = [
                    {"index": index, "logprobs": echo(model, ids)}
                    for index, ids in enumerate(prompts)
                ]
                body = json.dumps({"choices": choices}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        started.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/v1/completions"

    yield serve
    for server in started:
        server.shutdown()
        server.server_close()


def echo(model, ids):
    """Log-probabilities of the prompt's tokens and of one more, the first unknown."""
    with torch.no_grad():
        logs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    following = [*ids[1:], int(logs[-1].argmax())]
    return {
        "token_logprobs": [None, *(logs[i, token].item() for i, token in enumerate(following))],
        "top_logprobs": [None, *({"best": row.max().item()} for row in logs)],
    }


def test_log_probabilities_over_an_api_equal_those_of_hf(completions, tmp_path):
    model = tiny.build("qwen3", transformers.AutoModelForCausalLM)
    folder = str(tiny.save(tmp_path, "qwen3", model))

    def run(name, **arguments):
        done = lm_eval.simple_evaluate(
            model=name,
            model_args=arguments,
            batch_size=16,
            device="cpu",
            tasks=["value_bias_big2"],
            apply_chat_template=True,
            task_manager=TaskManager(
                include_path=task_config_dir(),
                include_defaults=False,
                metadata={"prompts": "best_ever_one"},
            ),
        )
        (sample,) = done["samples"]["value_bias_big2"]
        return done["results"]["value_bias_big2"], [row[0] for row in sample["filtered_resps"]]

    lean, scores = run("hf", pretrained=folder)
    served_lean, served = run(
        "local-completions", model="tiny", base_url=completions(model), tokenizer=folder
    )
    assert served == pytest.approx(scores, abs=1e-4)
    assert served_lean["agency_contrast,none"] == pytest.approx(
        lean["agency_contrast,none"], abs=1e-4
    )
