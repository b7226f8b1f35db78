"""partcnn view: a page where pictures of one's own are explained."""

from jsonargparse import ArgumentParser, Namespace

from partcnn.app.cli.exit_status import DONE
from partcnn.app.cli.tables import console


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="run directory; demo: comes with the package")
    parser.add_argument("--port", type=int, default=8765, help="of this machine alone (loopback); 0: any free one")


def execute(options: Namespace) -> int:
    from partcnn.app.runs.opening import followed_parts, open_run
    from partcnn.reporting.viewer import make_server

    run = open_run(options.run)
    with make_server(run.model, run.directory.name, port=options.port, parts=followed_parts(run)) as server:
        console().print(f"open http://127.0.0.1:{server.server_port}/ and drop a picture; Ctrl-C ends", soft_wrap=True)
        server.serve_forever()
    return DONE
