"""Files are written whole, and what is no file is written to as it is."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rm_value_tasks.errors import DataError
from rm_value_tasks.whole_files import whole, write_whole


def test_a_link_is_followed_and_the_mode_stays(tmp_path):
    real, link = tmp_path / "real.md", tmp_path / "link.md"
    real.write_text("old")
    real.chmod(0o664)
    link.symlink_to(real)
    write_whole(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o664


def test_a_pipe_gets_the_text_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    write_whole(pipe, "text")
    reader.join(10)
    assert read == ["text"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc")
@pytest.mark.parametrize("piped", [True, False])
def test_standard_output_may_be_named(tmp_path, piped):
    # By its name in /proc, where no file can be made: /dev/stdout could be replaced by a bug.
    code = "from pathlib import Path; from rm_value_tasks.whole_files import write_whole; "
    code += "write_whole(Path('/proc/self/fd/1'), 'text')"
    file = tmp_path / "out"
    with file.open("w") as out:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE if piped else out, check=True
        )
    assert (done.stdout.decode() if piped else file.read_text()) == "text"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_that_cannot_be_written_is_left_as_it_was(tmp_path):
    file = tmp_path / "file"
    file.write_text("old")

    def fail():
        with whole(file) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert file.read_text() == "old"
    with pytest.raises(DataError, match="choose another place"):
        write_whole(tmp_path / "no" / "file", "new")


def test_what_a_killed_process_left_goes_and_what_a_live_one_writes_stays(tmp_path):
    import platform

    node = platform.node()
    dead, alive, foreign = (
        tmp_path / f".out.txt.{tail}"
        for tail in (f"{node}.{2**22 + 1}", f"{node}.{os.getppid()}", "elsewhere.7")
    )
    for path in (dead, alive, foreign):
        path.write_text("half")
    write_whole(tmp_path / "out.txt", "whole")
    assert not dead.exists()
    assert alive.exists()
    assert foreign.exists()
