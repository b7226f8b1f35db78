"""partcnn completion: the shell completes commands and options."""

from jsonargparse import ArgumentParser, Namespace

from partcnn.app.cli.exit_status import DONE

SHELLS = ("bash", "zsh", "tcsh")


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "shell",
        choices=SHELLS,
        help="such as bash: partcnn completion bash > ~/.local/share/bash-completion/completions/partcnn",
    )


def execute(options: Namespace) -> int:
    from partcnn.app.cli.commands import COMMANDS, parser_of

    print(parser_of(COMMANDS).get_completion_script(f"shtab-{options.shell}"))
    return DONE
