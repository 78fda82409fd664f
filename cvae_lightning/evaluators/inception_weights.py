"""The weights of torch-fidelity's Inception network: from a file, from torch's cache, or downloaded; always checked."""

import hashlib
import http.client
import logging
import threading
import time
import urllib.request
from pathlib import Path

import torch
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

from cvae_lightning.core.errors import refuse
from cvae_lightning.core.files import sha256_of, write_whole
from cvae_lightning.evaluators.evaluator import Absent

log = logging.getLogger(__name__)

SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
KEY = "evaluators.inception.weights"
CHUNK = 2**20


def check_weights(path: Path) -> Path:
    """Return `path` if it is the official file; raises UserError for any other, whose FID would be meaningless.

    The file is not unpickled here, so its SHA-256 is checked before any of its content is used.
    """
    if not path.is_file():
        refuse("a file", KEY, str(path), f"Fetch it from {URL_INCEPTION_V3}")
    if (got := sha256_of(path)) != SHA256:
        refuse(f"torch-fidelity's weights, SHA-256 {SHA256[:12]}...", KEY, f"{path} ({got[:12]}...)", "Delete it.")
    return path


def cached_or_downloaded(seconds: float) -> Path | Absent:
    """The file in torch-fidelity's own cache, downloaded within `seconds` if necessary; a reason if that fails."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / URL_INCEPTION_V3.rpartition("/")[2]
    if path.is_file():
        return check_weights(path)
    log.info("Downloading %s (91 MB, for at most %.0f s)", URL_INCEPTION_V3, seconds)
    failure: list[str] = [f"no answer within {seconds:.0f} s"]
    thread = threading.Thread(target=_download, args=(path, seconds, failure), daemon=True)
    thread.start()
    thread.join(seconds)  # looking up an address has no timeout of its own
    if path.is_file():
        return path
    return Absent(f"its network's weights could not be downloaded ({failure[-1]}); name a file with {KEY}")


def _download(path: Path, seconds: float, failure: list[str]) -> None:
    end = time.monotonic() + seconds
    content = b""
    try:
        with urllib.request.urlopen(URL_INCEPTION_V3, timeout=seconds) as response:
            while part := response.read(CHUNK):
                content += part
                if time.monotonic() > end:
                    return
        if hashlib.sha256(content).hexdigest() != SHA256:
            failure.append("what arrived is not the official file")
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except (OSError, http.client.HTTPException) as error:
        failure.append(str(getattr(error, "reason", error)))
