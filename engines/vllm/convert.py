"""Makes the folder that `vllm serve` loads out of a published model: the Qwen2 inside it.

    python -m engines.vllm.convert SNAPSHOT FOLDER

What the model has beside its language model (heads that predict further tokens, encoders of
sound and images) stays behind. Weights are copied byte by byte, a few megabytes at a time.
"""

import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from engines.vllm.families import EMBEDDINGS, HEAD, Family, Sizes, family, read_tokens
from engines.vllm.tensor_files import Stored, read_json, read_snapshot, write_snapshot
from errors import InputError, ParleyError, UnavailableError

#: Bytes of weights per file.
SHARD = 4 * 2**30

#: What transformers' Qwen2Config knows and a snapshot says; everything else stays behind.
_KEPT = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "hidden_act", "max_position_embeddings"),
    *("rms_norm_eps", "rope_theta", "rope_scaling", "rope_parameters", "attention_dropout"),
    *("initializer_range", "use_cache", "tie_word_embeddings", "use_sliding_window"),
    *("sliding_window", "max_window_layers", "bos_token_id", "eos_token_id", "pad_token_id"),
)

_TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"),
    *("special_tokens_map.json", "added_tokens.json", "chat_template.jinja"),
)

_DTYPES = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}

#: How many names an error lists before it only counts.
_LISTED = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """What a conversion will do.

    Attributes:
        source: The snapshot.
        family: What the snapshot is.
        config: Of the stock model.
        tensors: What is copied, in the order of the computation.
        left: How many tensors stay behind.
        tokenizer: The files of the tokenizer; empty where the snapshot has none.
    """

    source: Path
    family: Family
    config: dict[str, Any]
    tensors: tuple[Stored, ...]
    left: int
    tokenizer: tuple[Path, ...]

    @property
    def size(self) -> int:
        """Bytes of weights that are copied."""
        return sum(tensor.size for tensor in self.tensors)

    def command(self, folder: Path, name: str) -> list[str]:
        """How to serve the result on one GPU."""
        return [
            *("vllm", "serve", str(folder), "--served-model-name", name),
            *("--dtype", self.config["torch_dtype"]),
            *(["--enable-prompt-embeds"] if self.family.embeds else []),
            *([] if self.tokenizer else ["--skip-tokenizer-init"]),
        ]


def plan(source: Path) -> Plan:
    """Look at a snapshot, and check everything that can be checked before the copy.

    Raises:
        InputError: If it is not a whole snapshot of a model that can be converted.
    """
    path = source / "config.json"
    if not path.is_file():
        raise InputError(f"{path} is not there. Is {source} the folder of a model?")
    config = read_json(path)
    kind = family(config, path)
    if config.get("hidden_act", "silu") != "silu":
        raise InputError(f"{path} says hidden_act {config['hidden_act']!r}; a Qwen2 has 'silu'.")
    sizes = Sizes.read(config, path)
    stored = read_snapshot(source)
    wanted = dict(sizes.tensors())
    missing = [name for name in wanted if name not in stored]
    beside = kind.beside + sizes.beside()
    extra = [name for name in stored if name not in wanted and not name.startswith(beside)]
    if missing:
        raise InputError(f"{source} lacks {_listed(missing)}. Is it a whole {kind.title}?")
    if extra:
        raise InputError(f"{source} has {_listed(extra)}, unknown in a {kind.title}.")
    _check_heads(source, kind, sizes, stored)
    for name, shape in wanted.items():
        if stored[name].shape != shape:
            raise InputError(
                f"{source}: {name} is {list(stored[name].shape)}, but {path.name} asks for "
                f"{list(shape)}."
            )
    rows = _rows(source, kind, sizes)
    chosen = tuple(
        stored[name].head(rows) if name in (EMBEDDINGS, HEAD) else stored[name] for name in wanted
    )
    dtype = Counter(tensor.dtype for tensor in chosen).most_common(1)[0][0]
    stock = {name: config[name] for name in _KEPT if name in config} | {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "num_hidden_layers": sizes.layers,
        "vocab_size": rows,
        "torch_dtype": _DTYPES.get(dtype, "auto"),
    }
    files = tuple(source / name for name in _TOKENIZER if (source / name).is_file())
    return Plan(source, kind, stock, chosen, len(stored) - len(chosen), files)


def convert(
    work: Plan, target: Path, progress: Callable[[float], None] = lambda done: None
) -> None:
    """Write the stock model inside a snapshot into a folder of its own.

    The folder appears only once it is whole and was read back; the snapshot stays as it is.

    Args:
        work: What to do.
        target: A folder that does not exist yet.
        progress: Is told how much is copied, 0 to 1.

    Raises:
        InputError: If the snapshot is damaged, or the target exists.
        UnavailableError: If the disk is full, or gives back something else than was written.
    """
    if target.exists():
        raise InputError(f"{target} exists already; I will not write into it.")
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if free < work.size:
        raise UnavailableError(
            f"{target} needs {work.size / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free there."
        )
    unfinished = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        write_snapshot(
            unfinished, work.tensors, SHARD, lambda done: progress(done / max(1, work.size))
        )
        _write_json(unfinished / "config.json", work.config)
        defaults = work.source / "generation_config.json"
        if defaults.is_file():
            # How the snapshot's own code schedules its heads means nothing to a stock model.
            known = read_json(defaults)
            known.pop("mtp_inference_mode", None)
            _write_json(unfinished / defaults.name, known)
        for file in work.tokenizer:
            shutil.copyfile(file, unfinished / file.name)
        _check(unfinished, work)
        unfinished.chmod(0o755)
        unfinished.rename(target)
    except OSError as error:
        raise UnavailableError(f"{target} could not be written: {error}.") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def main(
    snapshot: Annotated[Path, typer.Argument(help="Folder of a published model.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write; it must not exist yet.")],
    name: Annotated[
        str, typer.Option(help="What the server will call the model; else the snapshot's name.")
    ] = "",
) -> None:
    """Make the folder that `vllm serve` loads out of a published model."""
    try:
        work = plan(snapshot)
        with typer.progressbar(length=100, label=f"Writing {folder}") as bar:
            convert(work, folder, lambda done: bar.update(int(done * 100) - bar.pos))
    except ParleyError as error:
        typer.echo(str(error), err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    typer.echo(
        f"{work.family.title}: {len(work.tensors)} tensors, {work.size / 1e9:.2f} GB in {folder}; "
        f"{work.left} tensors that are not of its language model stay behind. To serve it:"
    )
    typer.echo(" ".join(work.command(folder, name or snapshot.resolve().name)))
    if not work.tokenizer:
        typer.echo("The snapshot has no tokenizer, so the server knows ids only.", err=True)


def _check_heads(source: Path, kind: Family, sizes: Sizes, stored: Mapping[str, Stored]) -> None:
    """Check where the language model ends: a layer of a head looks like one of its own."""
    heads = sum(name.startswith(kind.heads) for name in stored) if kind.heads else 0
    layers = sum(name.endswith(".input_layernorm.weight") for name in stored)
    if (layers - heads, heads) != (sizes.layers, sizes.further_layers):
        raise InputError(
            f"{source} has {layers} layers, {heads} of them heads', but config.json says "
            f"{sizes.layers + sizes.further_layers} and {sizes.further_layers}."
        )


def _rows(source: Path, kind: Family, sizes: Sizes) -> int:
    """Rows of the vocabulary that the stock model gets, checked against the tokenizer."""
    tokens = read_tokens(source)
    if tokens is None:
        return sizes.rows
    absent = [token for token in kind.tokens if token not in tokens]
    if absent:
        raise InputError(
            f"The tokenizer in {source} does not know {_listed(absent)}; it is not that of a "
            f"{kind.title}."
        )
    needed = max(tokens.values()) + 1
    if needed > sizes.rows:
        raise InputError(
            f"The tokenizer in {source} has ids up to {needed - 1}, but the vocabulary of the "
            f"model ends at {sizes.rows - 1}."
        )
    return needed if kind.trimmed else sizes.rows


def _check(folder: Path, work: Plan) -> None:
    """Compare what lies in the folder with what should."""
    stored = read_snapshot(folder)
    wanted = {tensor.name: (tensor.dtype, tensor.shape) for tensor in work.tensors}
    found = {name: (tensor.dtype, tensor.shape) for name, tensor in stored.items()}
    if found != wanted:
        raise UnavailableError(f"{folder} does not hold what was written into it.")


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _listed(names: list[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


if __name__ == "__main__":
    typer.run(main)
