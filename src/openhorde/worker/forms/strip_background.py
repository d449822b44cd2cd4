# SPDX-License-Identifier: AGPL-3.0-or-later
"""Takes the background away: what a network finds to be in front stays, the rest is transparent.

The network is u2net.onnx of `post_processors_folder`; nothing is ever downloaded for it.
"""

from importlib.util import find_spec
from typing import Any, ClassVar

from PIL import Image

from openhorde.worker.settings import WorkerSettings

NETWORK = "u2net.onnx"


class StripBackground:
    """The form strip_background, done by rembg."""

    name: ClassVar[str] = "strip_background"

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings

    @classmethod
    def obstacle(cls, settings: WorkerSettings) -> str | None:
        """Why it cannot be offered; None when it can."""
        folder = settings.post_processors_folder
        if folder is None:
            return "post_processors_folder is not set"
        if not (folder / NETWORK).is_file():
            return f"there is no {NETWORK} in {folder}"
        if find_spec("rembg") is None or find_spec("onnxruntime") is None:
            return "it needs the libraries rembg and onnxruntime"
        return None

    def open(self) -> None:
        """Load the network. Raises RuntimeError when it cannot be had."""
        reason = self.obstacle(self._settings)
        folder = self._settings.post_processors_folder
        if reason is not None or folder is None:
            raise RuntimeError(f"strip_background: {reason}")
        from onnxruntime import SessionOptions
        from rembg.sessions.u2net_custom import U2netCustomSession

        class OwnFile(U2netCustomSession):
            """Knows one file, and no address to fetch another from."""

            @classmethod
            def download_models(cls, *arguments: Any, **named: Any) -> str:
                return str(named["model_path"])

        try:
            self._session = OwnFile(
                OwnFile.name(),
                SessionOptions(),
                providers=["CPUExecutionProvider"],
                model_path=str(folder / NETWORK),
            )
        except Exception as error:
            # A network is others' making, and can be wrong in any way.
            raise RuntimeError(f"{NETWORK} cannot be loaded: {error}") from error

    @property
    def parts(self) -> dict[str, Any]:
        """It has no weights that torch knows of."""
        return {}

    def run(self, picture: Image.Image, payload: dict[str, Any]) -> Image.Image:
        """The picture in RGBA, as large as before."""
        from rembg import remove

        stripped: Image.Image = remove(picture.convert("RGBA"), session=self._session)
        return stripped.convert("RGBA")
