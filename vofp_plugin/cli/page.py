"""``vofp page``: enroll speakers and ask for words in a browser of this machine."""

import os
import socket
import tempfile
from importlib.util import find_spec

from vofp_plugin.cli.models import add_model_to, load_spotter
from vofp_plugin.cli.paths import path_of

HOST = "127.0.0.1"


def add_to(commands):
    """Adds the subcommand to argparse's."""
    parser = commands.add_parser(
        "page",
        help="enroll and try it in the browser (needs the extra `page`)",
        description="Serve a page to the browser of this machine: record or upload takes, see how "
        "good each is, ask with and without the profile. Recordings are forgotten, profiles kept.",
        epilog="example: vofp page pretrained/keywords --store speakers.db",
    )
    add_model_to(parser)
    parser.add_argument(
        "--store",
        type=path_of,
        default="speakers.db",
        metavar="FILE",
        help="keeps the profiles (%(default)s)",
    )
    parser.add_argument("--port", type=int, default=7860, help="of the page (%(default)s)")
    parser.set_defaults(run=_run)


def _run(arguments):
    if find_spec("gradio") is None:
        raise ImportError("found no gradio; install the extra: pip install 'vofp_plugin[page]'")
    check_free(arguments.port)
    from vofp_plugin.inference.profile_store import ProfileStore
    from vofp_plugin.inference.studio import Studio

    studio = Studio(load_spotter(arguments), ProfileStore(arguments.store))
    studio.spotter.empty_profile()  # refuses a model that is not personalized
    print(f"http://{HOST}:{arguments.port} (end it with Ctrl+C)", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        serve(studio, arguments.port, folder).block_thread()


def check_free(port):
    """Raises OSError where something answers at a port already, or nothing may."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
    except (OSError, OverflowError) as error:
        raise OSError(
            f"Cannot serve a page at port {port} ({error}): is another one open? Close it, or "
            "give another --port."
        ) from error


def serve(studio, port, folder):
    """Serves the page of a `Studio`, and returns at once.

    Arguments
    ---------
    studio : Studio
    port : int
    folder : str or Path
        For recordings, as long as the page is served.

    Returns
    -------
    gradio.Blocks
        Its `close` ends the server, its `block_thread` waits for the end.

    Raises
    ------
    OSError
        If the port is taken.
    """
    check_free(port)
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # calls home otherwise
    from starlette.middleware import Middleware

    from vofp_plugin.cli.local_only import LocalOnly
    from vofp_plugin.cli.page_view import view_of
    from vofp_plugin.inference.studio import LARGEST

    page = view_of(studio)
    page.launch(
        server_name=HOST,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        max_file_size=LARGEST,
        footer_links=[],
        ssr_mode=False,
        app_kwargs={"middleware": [Middleware(LocalOnly)]},
    )
    return page
