"""``rm-value-tasks tokens`` against one-by-one splicing, kills, and several processes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from click.testing import CliRunner
from tokenizers import AddedToken, decoders

from rm_value_tasks import prompts as design
from rm_value_tasks.cli import cli
from rm_value_tasks.errors import DataError, ModelError
from rm_value_tasks.models.reward import RewardLM
from rm_value_tasks.vocabulary.extremes import extremes, report
from rm_value_tasks.vocabulary.rewards import score_vocabulary
from rm_value_tasks.vocabulary.store import ScoreStore
from rm_value_tasks.vocabulary.token_runs import choose_prompts
from rm_value_tasks.vocabulary.token_table import TokenTable, printable
from tests import tiny

BEST = "What, in one word, is the best thing ever?"
COLUMNS = ["token_id", "token", "decoded", "is_special", "is_byte", "is_undecodable"]
COLUMNS += ["prompt_id", "prompt", "score"]


def load(folder, **arguments):
    return RewardLM(str(folder), **{"device": "cpu", "batch_size": 16, **arguments})


def scored(folder, output, prompts=None, *, chunk_size=128, arguments=(), **model_args):
    given = {"pretrained": str(folder), **model_args}
    return score_vocabulary(
        load(**{"folder": folder, **model_args, **dict(arguments)}),
        prompts or {"best": BEST},
        Path(output),
        model_args=given,
        chunk_size=chunk_size,
    )


def frame(run):
    return pd.read_parquet(run.store.merged)


def naive_scores(folder, ids, question=BEST):
    """Splice each id between the halves by hand, one conversation at a time."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    if tokenizer.chat_template:
        turns = [
            {"role": "user", "content": question},
            {"role": "assistant", "content": "SENTINEL"},
        ]
        text = tokenizer.apply_chat_template(turns, tokenize=False)
        halves = [
            tokenizer(part, add_special_tokens=False).input_ids for part in text.split("SENTINEL")
        ]
        types = None
    else:
        first = tokenizer(question).input_ids
        halves = [first, [tokenizer.sep_token_id]]
        types = torch.tensor([[0] * len(first) + [1, 1]])
    extra = {} if types is None else {"token_type_ids": types}
    with torch.no_grad():
        return [
            model(torch.tensor([[*halves[0], token, *halves[1]]]), **extra).logits[0, 0].item()
            for token in ids
        ]


@pytest.mark.parametrize("name", ["llama", "gemma2", "qwen3", "gpt2", "bert", "deberta-v2"])
def test_every_token_scores_as_when_spliced_alone(checkpoint, tmp_path, name):
    folder = checkpoint(name)
    run = scored(folder, tmp_path, {"best": BEST, "other": "Name a word."})
    rows = frame(run)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert list(rows.columns) == COLUMNS
    assert len(rows) == 2 * len(tokenizer)
    assert rows.token_id.tolist() == 2 * list(range(len(tokenizer)))
    assert rows.prompt_id.tolist() == ["best"] * len(tokenizer) + ["other"] * len(tokenizer)
    assert set(rows[rows.prompt_id == "other"].prompt) == {"Name a word."}
    best = rows[rows.prompt_id == "best"].score.tolist()
    some = [*range(0, len(tokenizer), 3), len(tokenizer) - 1]
    assert [best[i] for i in some] == pytest.approx(naive_scores(folder, some), abs=1e-5)
    assert len(set(best)) > len(best) / 2  # a constant would agree with anything


def test_a_one_token_answer_scores_as_in_a_task(checkpoint, tmp_path):
    folder = checkpoint("llama")
    rows = frame(scored(folder, tmp_path))
    lm = load(folder)
    from lm_eval.api.instance import Instance

    words = ["ru", "U", "do"]
    ids = [lm.tokenizer(word, add_special_tokens=False).input_ids for word in words]
    assert all(len(one) == 1 for one in ids)
    requests = [
        Instance("loglikelihood", {}, (BEST, " " + word), i, metadata=("probe", 0, 1))
        for i, word in enumerate(words)
    ]
    task = [float(score) for score, _ in lm.loglikelihood(requests, disable_tqdm=True)]
    assert rows.score[[one[0] for one in ids]].tolist() == pytest.approx(task, abs=1e-5)


def test_automatic_batch_size_with_and_without_a_shared_prefix(checkpoint, tmp_path):
    folder = checkpoint("gpt2")
    expected = frame(scored(folder, tmp_path / "plain")).score.tolist()
    for shared in (True, False):
        arguments = {"batch_size": "auto", "max_batch_size": 8}
        run = scored(folder, tmp_path / str(shared), shared_prefix=shared, arguments=arguments)
        assert frame(run).score.tolist() == pytest.approx(expected, abs=1e-5)


# -- the vocabulary ---------------------------------------------------------------------


def flagged(table, name):
    values = zip(table.ids, getattr(table, name), strict=True)
    return {table.tokenizer.convert_ids_to_tokens(token) for token, flag in values if flag}


def test_flags_of_a_byte_level_tokenizer():
    tokenizer = tiny.chat_tokenizer("llama3")
    table = TokenTable(tokenizer, len(tokenizer))
    assert flagged(table, "special") == {
        "<|begin_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
        "<pad>",
    }
    # GPT-2's alphabet: 128 bytes from 0x80 on are no text alone.
    assert len(flagged(table, "byte")) == 128
    assert flagged(table, "undecodable") == flagged(table, "byte")
    assert {"é", "Ģ"} <= flagged(table, "byte")  # bytes 0xE9 and 0x80
    assert table.decoded[tokenizer.convert_tokens_to_ids("Ġlove")] == " love"
    assert table.decoded[tokenizer.convert_tokens_to_ids("Ċ")] == "\n"


def test_flags_of_a_byte_fallback_tokenizer():
    tokenizer = tiny.chat_tokenizer("gemma")
    tokenizer.add_tokens([AddedToken("<think>", special=False)])
    table = TokenTable(tokenizer, len(tokenizer))
    assert len(flagged(table, "byte")) == 256
    assert flagged(table, "undecodable") == {f"<0x{byte:02X}>" for byte in range(128, 256)}
    assert "<bos>" in flagged(table, "special")
    assert "<think>" not in flagged(table, "special")
    assert table.decoded[tokenizer.convert_tokens_to_ids("<0x0A>")] == "\n"


def test_a_decoder_that_strips_a_texts_start_leaves_words_apart():
    tokenizer = tiny.chat_tokenizer("gemma")
    backend = tokenizer.backend_tokenizer
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)])  # as Llama 2's
    (word, *_) = (token for token in tokenizer.get_vocab() if re.fullmatch("▁[a-z]{2,}", token))
    id_ = tokenizer.convert_tokens_to_ids(word)
    assert tokenizer.decode([id_]) == word[1:]
    table, plain = (
        TokenTable(each, len(each)) for each in (tokenizer, tiny.chat_tokenizer("gemma"))
    )
    assert table.decoded[table.ids.index(id_)] == " " + word[1:]
    assert table.decoded == plain.decoded


def test_a_token_that_is_the_replacement_character_is_text():
    tokenizer = tiny.chat_tokenizer("chatml")
    tokenizer.add_tokens(["\ufffd"])
    table = TokenTable(tokenizer, len(tokenizer))
    assert "\ufffd" not in flagged(table, "undecodable")
    assert len(flagged(table, "undecodable")) == 128


def test_rows_and_tokens_without_each_other_are_counted_and_left_out(tmp_path):
    folder = tiny.save(tmp_path / "wide", "llama", vocab_size=500)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    known = len(tokenizer)
    assert known < 500
    tokenizer.add_tokens([f"<extra_{i}>" for i in range(500 - known + 7)])
    run = scored(folder, tmp_path / "out")
    assert (len(run.tokens.ids), run.tokens.rows_without_token) == (known, 500 - known)
    assert list(report(run, 1))[-1].startswith(f"{500 - known} embedding rows stand for no token")
    tokenizer.save_pretrained(folder)
    run = scored(folder, tmp_path / "out2")
    assert (len(run.tokens.ids), run.tokens.tokens_without_row) == (500, 7)
    assert list(report(run, 1))[-1].startswith("7 tokens have no embedding row")


def test_a_terminal_is_shown_no_control_characters(tmp_path):
    folder = tiny.save(tmp_path / "model", "llama", vocab_size=1000)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    evil = ["\x1b[31mred\x07", "\u202egnp.exe", "a\rb", "[bold]x[/bold]", "y" * 300]
    tokenizer.add_tokens(evil)
    tokenizer.save_pretrained(folder)
    run = scored(folder, tmp_path / "out", {"p": "two\nlines \x1b[2J"})
    lines = list(report(run, 1000))
    assert sum("\\x1b[31mred\\x07" in line for line in lines) == 1
    assert all(line.isprintable() and len(line) < 220 for line in lines)
    assert set(frame(run).token) >= set(evil)  # the file keeps them as they are
    assert printable("\u202e") == "'\\u202e'"


def test_a_terminal_that_knows_only_ascii_is_not_crashed(checkpoint, tmp_path, monkeypatch):
    run = scored(checkpoint("llama"), tmp_path)
    monkeypatch.setattr(sys, "stdout", open(os.devnull, "w", encoding="ascii"))  # noqa: SIM115
    assert all(line.isascii() for line in report(run, 500))


# -- the table --------------------------------------------------------------------------


def test_extremes_are_the_sorted_scores(checkpoint, tmp_path):
    run = scored(checkpoint("llama"), tmp_path)
    rows = frame(run).sort_values(["score", "token_id"], ascending=[False, True])
    highest, lowest = extremes(run, 0, 5)
    assert [row["token_id"] for row in highest] == rows.token_id[:5].tolist()
    assert [row["token_id"] for row in lowest] == rows.token_id[-5:].tolist()
    assert [row["rank"] for row in highest] == [1, 2, 3, 4, 5]
    assert lowest[-1]["rank"] == len(rows)
    highest, lowest = extremes(run, 0, len(rows) - 2)
    assert (len(highest), len(lowest)) == (len(rows) - 2, 2)  # nothing twice


# -- kills and settings -----------------------------------------------------------------


def command(folder, output, *more):
    return [
        *("tokens", "--model-args", f"pretrained={folder}", "--device", "cpu"),
        *("--prompts", "best_ever_*", "--chunk-size", "8", "--batch-size", "4"),
        *("-o", str(output), *more),
    ]


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def single(checkpoint, tmp_path_factory):
    """One run that nothing disturbs: the command's output and its folder."""
    folder = tmp_path_factory.mktemp("single")
    done = CliRunner().invoke(cli, command(checkpoint("llama"), folder, "--top", "3"))
    assert done.exit_code == 0, done.output
    return done, folder


def test_the_command_shows_tables_and_writes_one_file(single):
    done, folder = single
    text = done.stdout
    for prompt in ("best_ever_one", "best_ever_single", "best_ever_please"):
        assert f"{prompt}: {design.by_id(prompt).text!r}" in text
    assert text.count("       1  ") == 3
    assert sorted(path.name for path in folder.iterdir()) == ["run.json", "tokens.parquet"]
    settings = json.loads(pq.read_schema(folder / "tokens.parquet").metadata[b"rm_value_tasks"])
    assert settings == json.loads((folder / "run.json").read_text())
    assert settings["readout"] == "pooled"


def test_a_run_killed_at_any_moment_goes_on_to_the_identical_file(single, checkpoint, tmp_path):
    arguments = command(checkpoint("llama"), tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "rm_value_tasks", *arguments],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    chunks = tmp_path / "chunks"
    while not (chunks.is_dir() and len(list(chunks.glob("*.npy"))) >= 5):
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in chunks.glob("*.npy")}
    every = 3 * -(-len(tiny.chat_tokenizer("llama3")) // 8)
    assert 5 <= len(kept) < every
    assert not (tmp_path / "tokens.parquet").exists()
    # What a kill in the middle of a write leaves behind.
    (chunks / ".prompt0002-000000000.npy.1").write_bytes(b"half")
    (tmp_path / ".tokens.parquet.1").write_bytes(b"half")

    rescored = []
    save = ScoreStore.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            ScoreStore,
            "save",
            lambda self, chunk, scores: (rescored.append(chunk.name), save(self, chunk, scores)),
        )
        done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert len(rescored) + len(kept) == every
    assert not set(rescored) & set(kept)
    expected = (single[1] / "tokens.parquet").read_bytes()
    assert (tmp_path / "tokens.parquet").read_bytes() == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json", "tokens.parquet"]


def test_a_kill_between_scoring_and_merging_or_in_the_cleaning_up(single, checkpoint, tmp_path):
    folder = checkpoint("llama")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScoreStore, "merge", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            scored(folder, tmp_path)
    assert not (tmp_path / "tokens.parquet").exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        first = frame(scored(folder, tmp_path))
    assert (tmp_path / "chunks").is_dir()
    again = scored(folder, tmp_path)
    pd.testing.assert_frame_equal(frame(again), first)
    assert not (tmp_path / "chunks").exists()


def test_a_finished_run_is_shown_again_without_scoring(single, checkpoint):
    done, folder = single
    before = (folder / "tokens.parquet").stat().st_mtime_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RewardLM, "score_suffixes", None)
        again = CliRunner().invoke(cli, command(checkpoint("llama"), folder, "--top", "3"))
    assert again.stdout == done.stdout
    assert (folder / "tokens.parquet").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"prompts": {"best": BEST, "other": "Name a word."}}, "prompts: 1 there, 2 now"),
        ({"prompts": {"best": "What is best?"}}, r"prompts\.1\."),
        ({"chunk_size": 64}, "chunk_size: 128 there, 64 now"),
        ({"dtype": "bfloat16"}, "model_args.dtype: None there, 'bfloat16' now"),
        ({"bos": "paper"}, "encoding.bos: 'one' there, 'paper' now"),
    ],
)
def test_other_settings_are_refused(checkpoint, tmp_path, change, named):
    scored(checkpoint("llama"), tmp_path)
    with pytest.raises(DataError, match=f"other settings .*{named}.*choose another folder"):
        scored(checkpoint("llama"), tmp_path, **change)


@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "foreign"])
def test_a_chunk_that_changed_on_the_disk_is_scored_again(checkpoint, tmp_path, damage):
    expected = frame(scored(checkpoint("llama"), tmp_path / "whole"))
    run = scored(checkpoint("llama"), tmp_path / "out")
    run.store.merged.unlink()
    store = ScoreStore(
        tmp_path / "out", {k: v for k, v in run.store._settings.items() if k != "chunk_size"},
        prompts=1, tokens=len(expected), chunk_size=128,
    )  # fmt: skip
    for chunk in store.chunks:
        store.save(chunk, expected["score"][chunk.start : chunk.stop].tolist())
    path = store._parts / store.chunks[1].name
    data = bytearray(path.read_bytes())
    if damage == "bit":
        data[200] ^= 1
    path.write_bytes({"bit": data, "cut": data[:150], "empty": b"", "foreign": b"x" * 99}[damage])
    assert store.missing() == [store.chunks[1]]
    again = frame(scored(checkpoint("llama"), tmp_path / "out"))
    pd.testing.assert_frame_equal(again, expected)


@pytest.mark.parametrize("name", ["tokens.parquet", "run.json"])
@pytest.mark.parametrize("damage", ["cut", "empty", "deep", "bits"])
def test_a_damaged_run_is_named(checkpoint, tmp_path, name, damage):
    run = scored(checkpoint("llama"), tmp_path)
    path = tmp_path / name
    data = path.read_bytes()
    if damage == "bits":
        if name == "run.json":
            return
        place = data.index(b"PAR1") + 200
        data = (
            data[:place]
            + bytes(byte ^ 255 for byte in data[place : place + 40])
            + data[place + 40 :]
        )
    spoilt = {"cut": data[: len(data) // 2], "empty": b"", "deep": b"[" * 100_000, "bits": data}
    path.write_bytes(spoilt[damage])

    def look():
        list(report(scored(checkpoint("llama"), tmp_path), 3))
        extremes(run, 0, 400)

    with pytest.raises(DataError, match=name.replace(".", r"\.")) as told:
        look()
    assert "\n" not in str(told.value)


def test_prompts_in_another_order_are_refused(checkpoint, tmp_path):
    scored(checkpoint("llama"), tmp_path, {"a": "One?", "b": "Two?"})
    with pytest.raises(DataError, match=r"prompts\.1\.id: 'a' there, 'b' now"):
        scored(checkpoint("llama"), tmp_path, {"b": "Two?", "a": "One?"})


def test_a_replaced_checkpoint_is_refused(tmp_path):
    folder = tiny.save(tmp_path / "model", "llama")
    scored(folder, tmp_path / "out")
    model = tiny.build("llama")
    with torch.no_grad():
        model.get_input_embeddings().weight[-1] *= -1  # one row, far from where tensors start
    tiny.save(folder, "llama", model)
    with pytest.raises(DataError, match="weights_digest"):
        scored(folder, tmp_path / "out")


def test_another_batch_size_is_not_another_setting_and_secrets_are_not_kept(checkpoint, tmp_path):
    first = frame(scored(checkpoint("llama"), tmp_path, batch_size=4, token="hf_secret"))
    again = frame(scored(checkpoint("llama"), tmp_path, batch_size=8, token="hf_other"))
    pd.testing.assert_frame_equal(first, again)
    assert b"hf_" not in (tmp_path / "run.json").read_bytes()
    assert b"hf_" not in (tmp_path / "tokens.parquet").read_bytes()


def test_two_runs_do_not_write_to_one_folder(checkpoint, tmp_path):
    store = scored(checkpoint("llama"), tmp_path).store
    with store.alone(), pytest.raises(DataError, match="another process is writing to"):
        scored(checkpoint("llama"), tmp_path)
    scored(checkpoint("llama"), tmp_path)


def test_a_folder_that_is_no_runs_is_not_overwritten(checkpoint, tmp_path):
    (tmp_path / "tokens.parquet").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"without its run\.json.*another folder"):
        scored(checkpoint("llama"), tmp_path)
    (tmp_path / "run.json").write_text("mine")
    with pytest.raises(DataError, match="not the JSON that a run writes"):
        scored(checkpoint("llama"), tmp_path)
    with pytest.raises(DataError, match="cannot be written"):
        scored(checkpoint("llama"), tmp_path / "run.json" / "below")
    assert (tmp_path / "tokens.parquet").read_bytes() == b"mine"


# -- refusals ---------------------------------------------------------------------------


def test_a_reward_that_is_no_number_is_refused_and_not_saved(tmp_path):
    model = tiny.build("llama")
    model.get_input_embeddings().weight.data[300] = float("nan")
    folder = tiny.save(tmp_path / "model", "llama", model)
    with pytest.raises(ModelError, match=r"reward of token 300 \('.*'\) as the answer.*is nan"):
        scored(folder, tmp_path / "out", shared_prefix=False)
    assert len(list((tmp_path / "out" / "chunks").iterdir())) == 2  # tokens 0 to 255


def test_a_prompt_that_leaves_no_room_is_refused(checkpoint, tmp_path):
    with pytest.raises(ModelError, match="'long' and one token has .* tokens but the model takes"):
        scored(checkpoint("llama"), tmp_path, {"long": "word " * 300})
    assert not list(tmp_path.iterdir())


def test_prompts_are_chosen_by_id_pattern_and_text():
    chosen = choose_prompts(["best_ever_one", "worst_*"], ["Hello?", "Bye?"])
    assert len(chosen) == 1 + 9 + 2
    assert chosen["best_ever_one"] == BEST
    assert list(chosen.items())[-2:] == [("prompt_1", "Hello?"), ("prompt_2", "Bye?")]
    for patterns, texts, message in (
        (["best_evr"], [], "'best_evr' matches none of the 54"),
        ([], [" "], "prompt 1 is empty"),
        ([], [], "no prompt is given"),
    ):
        with pytest.raises(DataError, match=message):
            choose_prompts(patterns, texts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model-args", "dtype=float32"], "names no model; give pretrained="),
        (["--model-args", "pretrained={}", "--batch-size", "big"], "neither a number nor auto"),
        (["--model-args", "pretrained={}/missing"], "there is no such folder"),
        (["--model-args", "pretrained={},nonsense=3"], "no argument nonsense="),
    ],
)
def test_a_command_that_cannot_run_says_why(checkpoint, tmp_path, arguments, message):
    arguments = [text.format(checkpoint("llama")) for text in arguments]
    command = ["tokens", *arguments, "--device", "cpu", "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code != 0
    said = done.output if done.exit_code == 2 else str(done.exception)
    assert message in said
    assert isinstance(done.exception, SystemExit | ModelError)  # what main() turns into a line
    assert not (tmp_path / "out").exists()


def test_no_device_need_be_given(checkpoint, tmp_path):
    arguments = ["tokens", "--model-args", f"pretrained={checkpoint('llama')}"]
    arguments += ["--prompts", "best_ever_one", "--top", "1", "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "tokens.parquet").exists()


# -- several processes ------------------------------------------------------------------


def launch_two(*arguments):
    # ``--cpu`` starts a single process, whatever ``--num_processes`` says.
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launcher += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "rm_value_tasks", *arguments],
        env={**environment(), "ACCELERATE_USE_CPU": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "process 1 of 2" in done.stderr
    return done.stdout


def test_two_processes_write_the_same_file_as_one(single, checkpoint, tmp_path):
    output = launch_two(*command(checkpoint("llama"), tmp_path, "--top", "3"))
    assert output == single[0].stdout.replace(str(single[1]), str(tmp_path))  # one prints
    expected = (single[1] / "tokens.parquet").read_bytes()
    assert (tmp_path / "tokens.parquet").read_bytes() == expected


@pytest.mark.slow
def test_two_processes_with_unequal_shares_agree_on_a_batch_size(single, checkpoint, tmp_path):
    """lm-eval's search for a batch size waits for all processes: one more search would hang."""
    arguments = command(f"{checkpoint('llama')},shared_prefix=False,max_batch_size=8", tmp_path)
    launch_two(*arguments, "--batch-size", "auto")
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "tokens.parquet"),
        pd.read_parquet(single[1] / "tokens.parquet"),
        check_exact=False,
        atol=1e-5,
    )


def test_processes_take_turns_and_the_last_ones_absence_is_noticed(checkpoint, tmp_path):
    class Place:
        def __init__(self, rank):
            self.process_index, self.num_processes = rank, 3

        def wait_for_everyone(self):
            pass

        def unwrap_model(self, model):
            return model

    def take(rank):
        return scored_by(load(checkpoint("llama")), Place(rank))

    def scored_by(lm, place):
        lm.accelerator = place
        return score_vocabulary(
            lm, {"best": BEST}, tmp_path, model_args={"pretrained": "x"}, chunk_size=100
        )

    assert take(1) is None
    starts = sorted(path.name[11:20] for path in (tmp_path / "chunks").iterdir())
    assert starts == ["000000100", "000000400"]
    with pytest.raises(DataError, match=r"1 of 5 chunks are missing.*shared folder"):
        take(0)
    take(2)
    expected = frame(scored(checkpoint("llama"), tmp_path / "alone"))
    # The automatic batch size may differ from run to run, and rounding with it.
    pd.testing.assert_frame_equal(frame(take(0)), expected, rtol=0, atol=1e-5)
