"""The script of partcnn completion completes in a shell."""

import shutil
import subprocess
from pathlib import Path

import pytest

from partcnn.app.cli.commands import COMMANDS, main
from partcnn.app.cli.completion import SHELLS


@pytest.mark.parametrize("shell", SHELLS)
def test_there_is_a_script_for_each_shell_that_knows_every_command(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(command in script for command in COMMANDS)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "completed"),
    [(["exp"], ["explain", "export"]), (["explain", "demo:", "--ag"], ["--against"])],
    ids=["command", "option"],
)
def test_bash_completes_commands_and_options(
    words: list[str], completed: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    main(["completion", "bash"])
    (tmp_path / "partcnn").write_text(capsys.readouterr().out)
    asked = f"source partcnn; COMP_WORDS=(partcnn {' '.join(words)}); COMP_CWORD={len(words)}; _shtab_partcnn; "
    found = subprocess.run(
        ["bash", "-c", asked + 'printf "%s\\n" "${COMPREPLY[@]}"'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == completed
